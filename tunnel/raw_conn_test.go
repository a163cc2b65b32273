package tunnel

import (
	"errors"
	"slices"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// rawStream is a stream that is its connection.
type rawStream struct {
	*fakeStream
	beneath network.Conn
}

func (s *rawStream) TunnelConn() network.Conn { return s.beneath }

// beneath is a connection that notes how it ended.
type beneath struct {
	network.Conn
	ends []string
}

func (b *beneath) Close() error      { b.ends = append(b.ends, "close"); return nil }
func (b *beneath) Abort(error)       { b.ends = append(b.ends, "abort") }
func (b *beneath) CloseWrite() error { b.ends = append(b.ends, "fin"); return nil }

// A tunnel that is the connection itself unwraps to it, ends with it, and
// releases its stream.
func TestRawConn(t *testing.T) {
	for name, end := range map[string]func(c network.Conn){
		"close": func(c network.Conn) { _ = c.Close() },
		"abort": func(c network.Conn) { c.Abort(errors.New("RST")) },
	} {
		t.Run(name, func(t *testing.T) {
			b := &beneath{}
			s := &rawStream{newFakeStream(codec.HTTP11), b}
			c := NewConn(s)
			if u, ok := c.(network.Unwrapper); !ok || u.Unwrap() != network.Conn(b) {
				t.Fatal("the connection beneath is lost")
			}
			_ = c.CloseWrite()
			end(c)
			if !slices.Equal(b.ends, []string{"fin", name}) || !s.closed {
				t.Errorf("ends %v, released %v", b.ends, s.closed)
			}
		})
	}
	if _, ok := NewConn(&rawStream{fakeStream: newFakeStream(codec.HTTP11)}).(network.Unwrapper); ok {
		t.Error("unwraps to nothing")
	}
}

// The head of the answer stays to be asked for, whether it was a yes or a no.
func TestAnswerIsKept(t *testing.T) {
	for _, status := range []int{200, 503} {
		res := response(status, codec.Field{Name: "x-gateway", Value: "7"})
		c, _, err := NewDialer(opens(newFakeStream(codec.HTTP2, res)), connectHead).Open(t.Context(), network.NewStreamInfo(1))
		var got interface{ Answer() *codec.Response }
		if err == nil {
			got, _ = c.(interface{ Answer() *codec.Response })
			_ = c.Close()
		} else if !errors.As(err, &got) {
			t.Fatal(err)
		}
		if got == nil || got.Answer() != res {
			t.Errorf("%d: the answer is lost", status)
		}
	}
}

func TestModes(t *testing.T) {
	names := map[string]bool{}
	for _, m := range Modes() {
		names[m.String()] = true
		if m.Raw() == m.Trailers() || m.Raw() && m.Shared() {
			t.Errorf("%v: raw %v, trailers %v, shared %v", m, m.Raw(), m.Trailers(), m.Shared())
		}
	}
	if len(names) != 8 || !names["HTTP11-POST-TLS"] || !names["HTTP2-CONNECT"] {
		t.Errorf("modes %v", names)
	}
	if MethodOf(&codec.Request{Method: "POST"}) != MethodPost || MethodOf(&codec.Request{Method: "CONNECT"}) != MethodConnect {
		t.Error("a request asks with another method")
	}
}
