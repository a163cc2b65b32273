package transport

import (
	"culvert/configs/field"
	"culvert/proxy/datasource"
	"culvert/proxy/transport/proxyprotocol"
)

// Honoured declares the fields the constructors read. Go resumes no session by
// state of the server, so disable_stateful_session_resumption has nothing left
// to do; equally google_re2, which names the only syntax there is.
func Honoured() field.Honoured {
	const (
		sockets = "envoy.extensions.transport_sockets."
		tls     = sockets + "tls.v3."
	)
	h := field.Honoured{
		"envoy.config.core.v3.TransportSocket":                                         "name typed_config",
		"envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer":                   "",
		"culvert.v1.TunnelTransport":                                                   "cluster hostname transport_socket",
		sockets + "proxy_protocol.v3.ProxyProtocolUpstreamTransport":                   "config transport_socket",
		sockets + "http_11_proxy.v3.Http11ProxyUpstreamTransport":                      "transport_socket default_proxy_address",
		sockets + "internal_upstream.v3.InternalUpstreamTransport":                     "passthrough_metadata transport_socket",
		sockets + "internal_upstream.v3.InternalUpstreamTransport.MetadataValueSource": "kind name",
		"envoy.type.metadata.v3.MetadataKind":                                          "host cluster request route",
		"envoy.type.metadata.v3.MetadataKind.Host":                                     "",
		"envoy.type.metadata.v3.MetadataKind.Cluster":                                  "",
		"envoy.type.metadata.v3.MetadataKind.Request":                                  "",
		"envoy.type.metadata.v3.MetadataKind.Route":                                    "",
		"envoy.config.core.v3.Address":                                                 "socket_address pipe",
		"envoy.config.core.v3.SocketAddress":                                           "protocol address port_value",
		"envoy.config.core.v3.Pipe":                                                    "path",
		tls + "UpstreamTlsContext":                                                     "common_tls_context sni auto_host_sni auto_sni_san_validation max_session_keys",
		tls + "DownstreamTlsContext": "common_tls_context require_client_certificate require_sni " +
			"disable_stateless_session_resumption disable_stateful_session_resumption session_ticket_keys " +
			"session_timeout full_scan_certs_on_sni_mismatch",
		tls + "CommonTlsContext":                "tls_params tls_certificates validation_context alpn_protocols key_log",
		tls + "TlsParameters":                   "tls_minimum_protocol_version tls_maximum_protocol_version cipher_suites ecdh_curves",
		tls + "TlsCertificate":                  "certificate_chain private_key pkcs12 password watched_directory",
		tls + "TlsSessionTicketKeys":            "keys",
		tls + "TlsKeyLog":                       "path local_address_range remote_address_range",
		"envoy.config.core.v3.CidrRange":        "address_prefix prefix_len",
		"envoy.config.core.v3.WatchedDirectory": "path",
		tls + "CertificateValidationContext": "trusted_ca system_root_certs match_typed_subject_alt_names " +
			"verify_certificate_spki verify_certificate_hash crl only_verify_leaf_cert_crl trust_chain_verification " +
			"allow_expired_certificate max_verify_depth watched_directory",
		tls + "CertificateValidationContext.SystemRootCerts": "",
		tls + "SubjectAltNameMatcher":                        "san_type matcher",
		"envoy.type.matcher.v3.StringMatcher":                "exact prefix suffix contains safe_regex ignore_case",
		"envoy.type.matcher.v3.RegexMatcher":                 "google_re2 regex",
		"envoy.type.matcher.v3.RegexMatcher.GoogleRE2":       "",
	}
	h.Merge(datasource.Honoured(), proxyprotocol.Honoured())
	return h
}
