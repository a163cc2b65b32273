package cluster

import "testing"

// A proxy's no is %UPSTREAM_TRANSPORT_FAILURE_REASON% by its status.
func TestRefusedConnectIsTheTransportsFailure(t *testing.T) {
	p := serveProxy(t, nowhere, "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
	p.goOn <- struct{}{}
	c := start(t, throughProxy(t, tlsTo(t, static1(nowhere)), endpointOf(p.addr)), nil)
	i := info()
	if _, err := c.OpenStream(t.Context(), get(), i); err == nil || i.TransportFailure != "tunnel_response:407" {
		t.Errorf("%v, transport failure %q", err, i.TransportFailure)
	}
}
