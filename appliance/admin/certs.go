package admin

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	"culvert/proxy/transport"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func certsPage(d Deps) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { writeProto(w, certificates(d.Certificates())) }
}

// certificates shows each certificate once, however many transports use it.
func certificates(list []transport.Certificate) *adminv3.Certificates {
	type key struct {
		place     string
		authority bool
		raw       string
	}
	out := new(adminv3.Certificates)
	seen := make(map[key]bool)
	for _, c := range list {
		k := key{c.Place, c.Authority, string(c.Raw)}
		if seen[k] {
			continue
		}
		seen[k] = true
		details := []*adminv3.CertificateDetails{certificateDetails(c)}
		if c.Authority {
			out.Certificates = append(out.Certificates, &adminv3.Certificate{CaCert: details})
		} else {
			out.Certificates = append(out.Certificates, &adminv3.Certificate{CertChain: details})
		}
	}
	return out
}

func certificateDetails(c transport.Certificate) *adminv3.CertificateDetails {
	left := max(time.Until(c.NotAfter)/(24*time.Hour), 0)
	return &adminv3.CertificateDetails{
		Path: c.Place, SerialNumber: fmt.Sprintf("%x", c.SerialNumber), SubjectAltNames: alternativeNames(c.Certificate),
		DaysUntilExpiration: uint64(left), ValidFrom: timestamppb.New(c.NotBefore), ExpirationTime: timestamppb.New(c.NotAfter),
	}
}

func alternativeNames(c *x509.Certificate) (out []*adminv3.SubjectAlternateName) {
	for _, name := range c.DNSNames {
		out = append(out, &adminv3.SubjectAlternateName{Name: &adminv3.SubjectAlternateName_Dns{Dns: name}})
	}
	for _, uri := range c.URIs {
		out = append(out, &adminv3.SubjectAlternateName{Name: &adminv3.SubjectAlternateName_Uri{Uri: uri.String()}})
	}
	for _, ip := range c.IPAddresses {
		out = append(out, &adminv3.SubjectAlternateName{Name: &adminv3.SubjectAlternateName_IpAddress{IpAddress: ip.String()}})
	}
	return out
}
