package transport

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"time"

	"culvert/configs/field"
	"culvert/proxy/datasource"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// ticketKeySize is the length of a session ticket key in the configuration,
// bytes: what openssl rand 80 makes.
const ticketKeySize = 80

// setTickets sets how sessions are resumed by tickets. Keys are shared between
// processes that have the same configuration: culverts, not Envoys, whose
// tickets are of another form.
func setTickets(cfg *tls.Config, m *tlsv3.DownstreamTlsContext) error {
	cfg.SessionTicketsDisabled = m.GetDisableStatelessSessionResumption()
	var keys [][32]byte
	var errs []error
	for i, k := range m.GetSessionTicketKeys().GetKeys() {
		content, place, err := datasource.Read(k)
		if err == nil && len(content) != ticketKeySize {
			err = field.WithFix(field.Errorf("", "incorrect TLS session ticket key length: %s has %d bytes, expected %d", place, len(content), ticketKeySize), "openssl rand 80")
		}
		errs = append(errs, field.At(field.Index("session_ticket_keys.keys", i), err))
		keys = append(keys, sha256.Sum256(content))
	}
	if err := field.Join(errs...); err != nil {
		return err
	}
	if len(keys) > 0 {
		cfg.SetSessionTicketKeys(keys)
	}
	if t := m.GetSessionTimeout(); t != nil {
		boundSessions(cfg, t.AsDuration().Truncate(time.Second))
	}
	return nil
}

// boundSessions makes tickets count for so long. crypto/tls bounds them by
// seven days, and tells clients so.
func boundSessions(cfg *tls.Config, life time.Duration) {
	cfg.WrapSession = func(cs tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
		s.Extra = append(s.Extra, binary.BigEndian.AppendUint64(nil, uint64(time.Now().Unix())))
		return cfg.EncryptTicket(cs, s)
	}
	cfg.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		s, err := cfg.DecryptTicket(ticket, cs)
		if err != nil || s == nil {
			return nil, err
		}
		if len(s.Extra) == 0 || len(s.Extra[0]) != 8 {
			return nil, nil
		}
		made := time.Unix(int64(binary.BigEndian.Uint64(s.Extra[0])), 0)
		if time.Since(made) >= life {
			return nil, nil // a full handshake follows
		}
		return s, nil
	}
}
