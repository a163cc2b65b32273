// Package openssl has the names that OpenSSL, and so Envoy's configuration and
// logs, give to what crypto/tls has by number.
package openssl

import (
	"crypto/tls"
	"strings"
)

// CipherName is OpenSSL's name of a cipher suite: ECDHE-RSA-AES128-GCM-SHA256,
// and of TLS 1.3 the standard's own, TLS_AES_128_GCM_SHA256.
func CipherName(id uint16) string {
	name := tls.CipherSuiteName(id)
	rest, ok := strings.CutPrefix(name, "TLS_")
	if !ok {
		return name // unknown to crypto/tls: a number
	}
	exchange, cipher, ok := strings.Cut(rest, "_WITH_")
	if !ok {
		return name // TLS 1.3
	}
	cipher = strings.NewReplacer(
		"AES_", "AES", "3DES_EDE_CBC", "DES_CBC3", "_CBC", "", "POLY1305_SHA256", "POLY1305",
	).Replace(cipher)
	name = strings.ReplaceAll(cipher, "_", "-")
	if exchange != "RSA" { // plain RSA key exchange is not named
		name = strings.ReplaceAll(exchange, "_", "-") + "-" + name
	}
	return name
}

// Cipher is the cipher suite of TLS 1.2 and before that has OpenSSL's name;
// false if crypto/tls has none, or only an insecure one.
func Cipher(name string) (uint16, bool) {
	for _, s := range tls.CipherSuites() {
		if s.SupportedVersions[0] < tls.VersionTLS13 && CipherName(s.ID) == name {
			return s.ID, true
		}
	}
	return 0, false
}

// VersionName is TLSv1.3 and the like; empty for a version crypto/tls does not
// have.
func VersionName(v uint16) string {
	switch v {
	case tls.VersionTLS10:
		return "TLSv1"
	case tls.VersionTLS11:
		return "TLSv1.1"
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	}
	return ""
}

// Curve is the key exchange group of that name.
func Curve(name string) (tls.CurveID, bool) {
	switch name {
	case "X25519":
		return tls.X25519, true
	case "P-256", "prime256v1":
		return tls.CurveP256, true
	case "P-384", "secp384r1":
		return tls.CurveP384, true
	case "P-521", "secp521r1":
		return tls.CurveP521, true
	case "X25519MLKEM768":
		return tls.X25519MLKEM768, true
	}
	return 0, false
}

// CurveName is the name Envoy's statistics give to a key exchange group; empty
// where there was none (RSA key exchange) or it is unknown.
func CurveName(id tls.CurveID) string {
	switch id {
	case tls.X25519:
		return "X25519"
	case tls.CurveP256:
		return "P-256"
	case tls.CurveP384:
		return "P-384"
	case tls.CurveP521:
		return "P-521"
	case tls.X25519MLKEM768:
		return "X25519MLKEM768"
	}
	return ""
}
