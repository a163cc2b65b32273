package configs

import (
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
)

// lintUpstreamTLS finds upstream TLS that accepts more servers than were meant.
func lintUpstreamTLS(b *bootstrapv3.Bootstrap) []error {
	var found []error
	Walk(b, func(path string, m proto.Message) bool {
		if tls, ok := m.(*tlsv3.UpstreamTlsContext); ok {
			if err := lintUpstreamContext(path, tls); err != nil {
				found = append(found, err)
			}
		}
		return true
	})
	return found
}

func lintUpstreamContext(path string, tls *tlsv3.UpstreamTlsContext) error {
	common := tls.GetCommonTlsContext()
	v := common.GetValidationContext()
	const at = ".common_tls_context.validation_context"
	switch {
	case common.GetValidationContextType() != nil && v == nil:
		return nil // from elsewhere; it is not ours to judge
	case v.GetTrustChainVerification() == tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED:
		return suspicion(path+at+".trust_chain_verification", "name trusted_ca, or pin the key with verify_certificate_spki",
			"any server's certificate is accepted")
	case pinned(v):
		return nil
	case v.GetTrustedCa() == nil && v.GetSystemRootCerts() == nil:
		return suspicion(path, "common_tls_context: {validation_context: {system_root_certs: {}}}, or trusted_ca",
			"nothing says which certificates to trust: culvert trusts the system's authorities, Envoy would accept any server")
	case v.GetTrustedCa() != nil && !namesServer(tls, v):
		return suspicion(path, "add sni, or match_typed_subject_alt_names",
			"no server name is asked for: every certificate of trusted_ca is accepted")
	}
	return nil
}

func pinned(v *tlsv3.CertificateValidationContext) bool {
	return len(v.GetVerifyCertificateSpki())+len(v.GetVerifyCertificateHash()) > 0
}

func namesServer(tls *tlsv3.UpstreamTlsContext, v *tlsv3.CertificateValidationContext) bool {
	return tls.GetSni() != "" || tls.GetAutoHostSni() || tls.GetAutoSniSanValidation() || len(v.GetMatchTypedSubjectAltNames()) > 0
}
