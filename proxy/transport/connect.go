package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"culvert/proxy/codec"
	"culvert/proxy/network"

	"github.com/dunglas/httpsfv"
)

// RefusedError is a proxy's no to a CONNECT.
type RefusedError struct {
	Proxy  network.Address
	Target string // what was asked for, host:port
	// Status is the answer's, for whoever passes it back.
	Status int
	// Header is the answer's. It is the proxy's word: escape it before it
	// reaches a log.
	Header codec.Fields
}

// Error leaves the proxy's own words out.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("proxy %s answered %d to CONNECT %s", e.Proxy, e.Status, e.Target)
}

// Refusal is the answer, for whoever passes it back.
func (e *RefusedError) Refusal() (int, codec.Fields) { return e.Status, e.Header }

// TransportFailure is %UPSTREAM_TRANSPORT_FAILURE_REASON% for it.
func (e *RefusedError) TransportFailure() string { return fmt.Sprintf("tunnel_response:%d", e.Status) }

// Flag is Envoy's: an answer that is not a yes is a connection failure. A loop is
// none, so that it is not tried again at each of its hops.
func (e *RefusedError) Flag() network.Flag {
	if e.ConnectReason() == network.ReasonLoop {
		return network.ReasonLoop.Flag()
	}
	return network.FlagUF
}

// ConnectReason is what the answer says of the target: by its Proxy-Status (RFC
// 9209 §2.3), else by its status.
func (e *RefusedError) ConnectReason() network.Reason {
	if r, ok := proxyStatus(e.Header.Values("proxy-status")); ok {
		return r
	}
	switch e.Status {
	case 403:
		return network.ReasonDenied
	case 502, 503:
		return network.ReasonConnectionRefused
	case 504:
		return network.ReasonTimeout
	}
	return network.ReasonGateway
}

// proxyStatus finds the first error type that is known, the one closest to the
// target.
func proxyStatus(lines []string) (network.Reason, bool) {
	if len(lines) == 0 {
		return 0, false
	}
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		return 0, false
	}
	for _, m := range list {
		if item, ok := m.(httpsfv.Item); ok {
			v, _ := item.Params.Get("error")
			token, _ := v.(httpsfv.Token)
			if r, ok := network.ReasonForToken(string(token)); ok {
				return r, true
			}
		}
	}
	return 0, false
}

// connect asks for a tunnel over c, in HTTP/1.1, with more fields than Host, and
// returns it. It owns c and
// aborts it on error. Nothing is sent into the tunnel before the yes (RFC 9931),
// and what comes behind the answer's head is the tunnel's (RFC 9110 §9.3.6).
func connect(ctx context.Context, c network.Conn, d detour, more codec.Fields) (network.Conn, error) {
	p := network.PeekConn(c, nil)
	err := interruptible(ctx, c, func() error {
		request := "CONNECT " + d.target + " HTTP/1.1\r\nHost: " + d.target + "\r\n"
		for _, f := range more {
			request += f.Name + ": " + f.Value + "\r\n"
		}
		if _, err := c.Write([]byte(request + "\r\n")); err != nil {
			return err
		}
		status, header, err := finalAnswer(p)
		if err == nil && status/100 != 2 {
			err = &RefusedError{Proxy: d.proxy, Target: d.target, Status: status, Header: header}
		}
		return err
	})
	if err != nil {
		var refused *RefusedError
		if errors.As(err, &refused) {
			return nil, err
		}
		return nil, gatewayError(ctx, fmt.Errorf("CONNECT through proxy %s: %w", d.proxy, err))
	}
	tunnel, _ := p.Conn()
	return tunnel, nil
}

// Bounds of a proxy's answer: bytes of its head, and how many 1xx come first.
const (
	maxAnswer       = 16 << 10
	maxInterim      = 16
	maxAnswerFields = 100
)

// Errors of an answer. They are our own text.
var (
	errNoAnswer   = errors.New("it closed the connection without an answer")
	errLongAnswer = fmt.Errorf("its answer has more than %d bytes", maxAnswer)
	errBadAnswer  = errors.New("its answer is malformed")
)

// finalAnswer reads heads up to the final one and leaves what is behind it.
func finalAnswer(p *network.Peek) (int, codec.Fields, error) {
	for range maxInterim {
		head, err := readHead(p)
		if err != nil {
			return 0, nil, err
		}
		status, header, err := parseAnswer(head)
		if err != nil {
			return 0, nil, err
		}
		if status >= 200 || status == 101 {
			return status, header, nil
		}
	}
	return 0, nil, errBadAnswer
}

// readHead waits for a head and takes it, its empty line included. The context
// is not its own: whoever calls it aborts the connection.
func readHead(p *network.Peek) ([]byte, error) {
	var b []byte
	for {
		var err error
		if b, err = p.Ahead(context.Background(), len(b)+1); err != nil {
			if errors.Is(err, io.EOF) {
				err = errNoAnswer
			}
			return nil, err
		}
		if end := bytes.Index(b[:min(len(b), maxAnswer)], []byte("\r\n\r\n")); end >= 0 {
			head := bytes.Clone(b[:end+2])
			p.Discard(end + 4)
			return head, nil
		}
		if len(b) >= maxAnswer {
			return nil, errLongAnswer
		}
	}
}

// parseAnswer reads a status line and its fields (RFC 9112 §4, §5), each ended
// by CRLF; nothing is repaired.
func parseAnswer(head []byte) (status int, header codec.Fields, err error) {
	lines := strings.Split(strings.TrimSuffix(string(head), "\r\n"), "\r\n")
	if status, err = parseStatusLine(lines[0]); err != nil {
		return 0, nil, err
	}
	if len(lines) > 1+maxAnswerFields {
		return 0, nil, errBadAnswer
	}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !ok || !codec.ValidName(name) || !codec.ValidValue(value) {
			return 0, nil, errBadAnswer
		}
		header.Add(name, value)
	}
	return status, header, nil
}

func parseStatusLine(line string) (int, error) {
	version, rest, _ := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(rest, " ")
	status, err := strconv.ParseUint(code, 10, 16)
	ok := (version == "HTTP/1.1" || version == "HTTP/1.0") && err == nil && len(code) == 3 &&
		status >= 100 && codec.ValidValue(strings.Trim(reason, " \t"))
	if !ok {
		return 0, errBadAnswer
	}
	return int(status), nil
}
