package transport

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"culvert/configs/field"
	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// keyLog writes the secrets of connections to a file, in the format of
// SSLKEYLOGFILE, for whoever reads a capture of them. It holds no descriptor:
// there are a few lines a handshake, and the file may be moved away.
type keyLog struct {
	path          string
	local, remote []netip.Prefix // none: any address
	log           *slog.Logger
}

// newKeyLog compiles key_log; nil without one.
func newKeyLog(m *tlsv3.TlsKeyLog, log *slog.Logger) (*keyLog, error) {
	if m == nil {
		return nil, nil
	}
	k := &keyLog{path: m.GetPath(), log: log}
	var errs [3]error
	if dir, err := os.Stat(filepath.Dir(k.path)); err != nil {
		errs[0] = field.At("path", err)
	} else if !dir.IsDir() {
		errs[0] = field.Errorf("path", "%s is no directory", filepath.Dir(k.path))
	}
	k.local, errs[1] = prefixes("local_address_range", m.GetLocalAddressRange())
	k.remote, errs[2] = prefixes("remote_address_range", m.GetRemoteAddressRange())
	if err := field.Join(errs[:]...); err != nil {
		return nil, err
	}
	return k, nil
}

func prefixes(path string, list []*corev3.CidrRange) (out []netip.Prefix, err error) {
	var errs []error
	for i, r := range list {
		a, err := netip.ParseAddr(r.GetAddressPrefix())
		if err != nil {
			errs = append(errs, field.Errorf(field.Index(path, i)+".address_prefix", "%q is not an address", r.GetAddressPrefix()))
			continue
		}
		bits := int(r.GetPrefixLen().GetValue()) // absent: 0, every address
		p, err := a.Prefix(bits)
		if err != nil {
			errs = append(errs, field.Errorf(field.Index(path, i)+".prefix_len", "%d is more than an address has bits", bits))
			continue
		}
		out = append(out, p)
	}
	return out, field.Join(errs...)
}

// wants reports whether the secrets of c are written.
func (k *keyLog) wants(c network.Conn) bool {
	return k != nil && within(k.local, c.LocalAddr()) && within(k.remote, c.RemoteAddr())
}

func within(list []netip.Prefix, a net.Addr) bool {
	ip := network.AddressOf(a).IP.Addr()
	for _, p := range list {
		if p.Contains(ip) {
			return true
		}
	}
	return len(list) == 0
}

// Write appends one line. It never fails: a log that cannot be written must not
// end connections.
func (k *keyLog) Write(line []byte) (int, error) {
	f, err := os.OpenFile(k.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.Write(line)
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}
	if err != nil {
		k.log.Error("TLS key log", "error", err)
	}
	return len(line), nil
}
