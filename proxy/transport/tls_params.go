package transport

import (
	"crypto/tls"
	"strings"

	"culvert/configs/field"
	"culvert/proxy/openssl"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// newConfig compiles what both sides have in common but certificates.
func newConfig(m *tlsv3.CommonTlsContext) (*tls.Config, error) {
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: m.GetAlpnProtocols(),
		// A stream that starts again after a pause would send 1.4 KB records.
		DynamicRecordSizingDisabled: true,
	}
	return cfg, field.At("tls_params", setParams(cfg, m.GetTlsParams()))
}

func setParams(cfg *tls.Config, p *tlsv3.TlsParameters) error {
	if v := version(p.GetTlsMinimumProtocolVersion()); v != 0 {
		cfg.MinVersion = v
	}
	cfg.MaxVersion = version(p.GetTlsMaximumProtocolVersion())
	if cfg.MaxVersion != 0 && cfg.MaxVersion < cfg.MinVersion {
		return field.Errorf("tls_maximum_protocol_version", "is below the minimum, %s", openssl.VersionName(cfg.MinVersion))
	}
	var errs []error
	for i, s := range p.GetCipherSuites() {
		// [A|B] are equally good; crypto/tls orders suites itself.
		for _, name := range strings.Split(strings.Trim(s, "[]"), "|") {
			id, ok := openssl.Cipher(name)
			if !ok {
				errs = append(errs, field.Errorf(field.Index("cipher_suites", i), "%q is not a cipher suite of TLS 1.2 that is offered", name))
			}
			cfg.CipherSuites = append(cfg.CipherSuites, id)
		}
	}
	for i, name := range p.GetEcdhCurves() {
		id, ok := openssl.Curve(name)
		if !ok {
			errs = append(errs, field.Errorf(field.Index("ecdh_curves", i), "%q is not a curve that is offered", name))
		}
		cfg.CurvePreferences = append(cfg.CurvePreferences, id)
	}
	return field.Join(errs...)
}

// version is crypto/tls's number; 0 for TLS_AUTO.
func version(v tlsv3.TlsParameters_TlsProtocol) uint16 {
	switch v {
	case tlsv3.TlsParameters_TLSv1_0:
		return tls.VersionTLS10
	case tlsv3.TlsParameters_TLSv1_1:
		return tls.VersionTLS11
	case tlsv3.TlsParameters_TLSv1_2:
		return tls.VersionTLS12
	case tlsv3.TlsParameters_TLSv1_3:
		return tls.VersionTLS13
	}
	return 0
}
