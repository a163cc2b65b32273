package openssl

import (
	"crypto/tls"
	"testing"
)

func TestCipherNames(t *testing.T) {
	for id, want := range map[uint16]string{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:         "ECDHE-RSA-AES128-GCM-SHA256",
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:       "ECDHE-ECDSA-AES256-GCM-SHA384",
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:   "ECDHE-RSA-CHACHA20-POLY1305",
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
		tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA:            "ECDHE-RSA-AES128-SHA",
		tls.TLS_RSA_WITH_AES_256_GCM_SHA384:               "AES256-GCM-SHA384",
		tls.TLS_RSA_WITH_AES_128_CBC_SHA256:               "AES128-SHA256",
		tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA:                 "DES-CBC3-SHA",
		tls.TLS_AES_128_GCM_SHA256:                        "TLS_AES_128_GCM_SHA256",
		0xfefe:                                            "0xFEFE",
	} {
		if got := CipherName(id); got != want {
			t.Errorf("%#x: %s, want %s", id, got, want)
		}
	}
}

// Every secure suite is found again by its name.
func TestCipherRoundTrip(t *testing.T) {
	for _, s := range tls.CipherSuites() {
		id, ok := Cipher(CipherName(s.ID))
		is13 := s.SupportedVersions[0] == tls.VersionTLS13
		if ok == is13 || (ok && id != s.ID) {
			t.Errorf("%s: %#x, %v", s.Name, id, ok)
		}
	}
	for _, name := range []string{"", "DES-CBC3-SHA", "AES128-SHA256", "NULL", "TLS_AES_128_GCM_SHA256"} {
		if _, ok := Cipher(name); ok {
			t.Errorf("%q is a cipher", name)
		}
	}
}

func TestVersionsAndCurves(t *testing.T) {
	if VersionName(tls.VersionTLS12) != "TLSv1.2" || VersionName(tls.VersionTLS13) != "TLSv1.3" || VersionName(7) != "" {
		t.Error("version names")
	}
	for name, want := range map[string]tls.CurveID{"X25519": tls.X25519, "P-256": tls.CurveP256, "prime256v1": tls.CurveP256, "X25519MLKEM768": tls.X25519MLKEM768} {
		if got, ok := Curve(name); !ok || got != want {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
	}
	if _, ok := Curve("P-224"); ok {
		t.Error("P-224 is a curve")
	}
}
