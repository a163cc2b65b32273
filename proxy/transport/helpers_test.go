package transport_test

import (
	"context"
	"crypto/tls"
	"sync"
	"testing"
	"time"

	"culvert/proxy/network"
	"culvert/proxy/transport"
	"culvert/proxy/transport/transporttest"
	"culvert/test/leak"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

func TestMain(m *testing.M) { leak.Main(m) }

// ends are both ends of a connection after Wrap, or why it failed.
type ends struct {
	client, server       network.Conn
	clientErr, serverErr error
	clientRaw, serverRaw *network.Socket
	info                 *network.StreamInfo
}

// connect wraps both ends of a loopback connection.
func connect(t *testing.T, u transport.Upstream, d transport.Downstream, o transport.Options) ends {
	t.Helper()
	var e ends
	e.clientRaw, e.serverRaw = transporttest.Pair(t)
	e.info = network.NewStreamInfo(1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { e.server, e.serverErr = d.Wrap(ctx, e.serverRaw, e.info) })
	e.client, e.clientErr = u.Wrap(ctx, e.clientRaw, o)
	wg.Wait()
	t.Cleanup(func() {
		for _, c := range []network.Conn{e.client, e.server} {
			if c != nil {
				c.Abort(nil)
			}
		}
	})
	return e
}

func (e ends) must(t *testing.T) ends {
	t.Helper()
	if e.clientErr != nil || e.serverErr != nil {
		t.Fatalf("client: %v, server: %v", e.clientErr, e.serverErr)
	}
	return e
}

func upstream(t *testing.T, m *tlsv3.UpstreamTlsContext) transport.Upstream {
	t.Helper()
	u, err := transport.NewUpstream(transporttest.Socket(t, m), transport.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func downstream(t *testing.T, m *tlsv3.DownstreamTlsContext) transport.Downstream {
	t.Helper()
	d, err := transport.NewDownstream(transporttest.Socket(t, m), transport.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// plain is a connection with certificates nobody doubts.
func plain(t *testing.T) ends {
	t.Helper()
	ca := transporttest.Authority(t)
	u := upstream(t, transporttest.Client(ca, "a.test"))
	d := downstream(t, transporttest.Server(transporttest.Issue(t, ca, "a.test")))
	return connect(t, u, d, transport.Options{}).must(t)
}

// plainVersion is plain with one version of TLS.
func plainVersion(t *testing.T, version uint16) ends {
	t.Helper()
	ca := transporttest.Authority(t)
	m := transporttest.Client(ca, "a.test")
	m.CommonTlsContext.TlsParams = &tlsv3.TlsParameters{TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3}
	if version == tls.VersionTLS12 {
		m.CommonTlsContext.TlsParams.TlsMaximumProtocolVersion = tlsv3.TlsParameters_TLSv1_2
	}
	e := connect(t, upstream(t, m), downstream(t, transporttest.Server(transporttest.Issue(t, ca, "a.test"))), transport.Options{}).must(t)
	if got := transport.ConnTLS(e.client).Version; got != version {
		t.Fatalf("version %#x", got)
	}
	return e
}
