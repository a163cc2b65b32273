package hcm

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"culvert/proxy/codec"
	"culvert/proxy/httpfilter/router"
	"culvert/proxy/httpfilter/streamtest"
	"culvert/proxy/network"
	"culvert/tunnel"
)

// strictRouter refuses early data. Before it sees an exchange, first does.
func strictRouter(t *testing.T, c router.Cluster, first func(x *codec.Exchange)) codec.Filter {
	t.Helper()
	r, err := router.New(&routerv3.Router{RejectConnectRequestEarlyData: wrapperspb.Bool(true)}, router.Deps{
		Clusters: func(string) (router.Cluster, bool) { return c, true }, Serve: tunnel.Serve, Flows: network.NewFlowTable(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return terminalFunc(func(ctx context.Context, x *codec.Exchange, next codec.RoundTripper) error {
		first(x)
		return r.RoundTrip(ctx, x, next)
	})
}

// terminalFunc is a filter that answers by itself.
type terminalFunc func(ctx context.Context, x *codec.Exchange, next codec.RoundTripper) error

func (fn terminalFunc) RoundTrip(ctx context.Context, x *codec.Exchange, next codec.RoundTripper) error {
	return fn(ctx, x, next)
}

func (terminalFunc) Terminal() bool { return true }

// awaitEarly waits until s has payload that nobody asked for yet.
func awaitEarly(s codec.ServerStream) error {
	early := s.(interface{ EarlyData() bool })
	for deadline := time.Now().Add(soon); !early.EarlyData(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("no early data came")
		}
	}
	return nil
}

// rawConnect is a client that does not wait for its answer: it sends a CONNECT
// and, when it is told to, payload.
type rawConnect struct {
	t   *testing.T
	c   network.Conn
	two *http2.Framer // nil: HTTP/1.1
}

func (w *wire) rawConnect(p codec.Proto) *rawConnect {
	w.t.Helper()
	r := &rawConnect{t: w.t}
	if p == codec.HTTP2 {
		r.c = w.dial()
		r.preface()
		_ = r.two.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block("CONNECT"), EndHeaders: true})
	} else {
		r.c = w.dial1()
		mustWrite(w.t, r.c, "CONNECT foo.lyft.com:80 HTTP/1.1\r\nHost: foo.lyft.com:80\r\n\r\n")
	}
	_ = r.c.SetDeadline(time.Now().Add(soon))
	w.t.Cleanup(func() { _ = r.c.Close() })
	return r
}

// preface begins HTTP/2.
func (r *rawConnect) preface() {
	mustWrite(r.t, r.c, http2.ClientPreface)
	r.two = http2.NewFramer(r.c, r.c)
	r.two.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = r.two.WriteSettings()
}

// block is the head of a request without a path.
func (r *rawConnect) block(method string) []byte {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	_ = enc.WriteField(hpack.HeaderField{Name: ":method", Value: method})
	_ = enc.WriteField(hpack.HeaderField{Name: ":authority", Value: "foo.lyft.com:80"})
	return block.Bytes()
}

func (r *rawConnect) send(payload string) {
	if r.two == nil {
		mustWrite(r.t, r.c, payload)
		return
	}
	if err := r.two.WriteData(1, false, []byte(payload)); err != nil {
		r.t.Errorf("DATA: %v", err)
	}
}

// answer is the status, and whether nothing of a tunnel follows it.
func (r *rawConnect) answer() (status string, ended bool) {
	r.t.Helper()
	if r.two == nil {
		res, _ := ask(r.t, r.c, "CONNECT", "")
		return res.Status[:3], res.Close
	}
	for {
		f, err := r.two.ReadFrame()
		if err != nil {
			r.t.Fatalf("no answer: %v", err)
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok {
			return h.PseudoValue("status"), h.StreamEnded()
		}
	}
}

// E15, FB30: payload that comes behind a CONNECT before its answer, with the
// head or while the far half is being opened, is answered with 400 where the
// configuration refuses it, and no byte of it is written upstream.
func TestE15FB30EarlyDataRefused(t *testing.T) {
	forSome(t, connects, func(t *testing.T, m tunnel.Mode) { // what follows a POST's head is its body
		t.Run("terminated, with the head", func(t *testing.T) { refusesEarly(t, m, terminateRoute, false) })
		t.Run("terminated, while the far half opens", func(t *testing.T) { refusesEarly(t, m, terminateRoute, true) })
		t.Run("proxied, with the head", func(t *testing.T) { refusesEarly(t, m, proxyRoute, false) })
		t.Run("proxied, before the answer", func(t *testing.T) { refusesEarly(t, m, proxyRoute, true) })
	})
}

func refusesEarly(t *testing.T, m tunnel.Mode, route string, late bool) {
	var stream codec.ServerStream // of the one exchange, whose goroutine all of this runs on
	opening, upstream := make(chan struct{}), make(chan error, 1)
	near, far := streamtest.Pair(connect())
	open := func() error {
		if !late {
			t.Error("the far half was opened")
		}
		close(opening)
		go func() { // ends with the far half
			_, err := far.Read(make([]byte, 1))
			upstream <- err
		}()
		return awaitEarly(stream)
	}
	c := fakeCluster{
		open: func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
			return tunnel.NewConn(near), nil, open()
		},
		stream: func(*codec.Request) (codec.ClientStream, error) {
			err := open()
			_ = far.WriteResponse(&codec.Response{Status: 200})
			return near, err
		},
	}
	filter := strictRouter(t, c, func(x *codec.Exchange) {
		if stream = x.Stream; !late { // the codec may still be reading what came with the head
			if err := awaitEarly(stream); err != nil {
				t.Error(err)
			}
		}
	})
	w := serveWith(t, with(route, ""), nil, map[string]codec.Filter{"router": filter}, m.Secure)
	client := w.rawConnect(m.Proto)
	if late {
		<-opening
	}
	client.send("early")
	if status, ended := client.answer(); status != "400" || !ended {
		t.Errorf("status %s, ended %v; want 400 and the end", status, ended)
	}
	if late {
		if err := <-upstream; !network.IsReset(err) {
			t.Errorf("the upstream read %v, want a reset and no byte before it", err)
		}
	}
	if details := w.lastExchange().Details; details != "early_connect_data" {
		t.Errorf("details %q", details)
	}
}
