package codec

// Proto is an HTTP version.
type Proto uint8

// The versions culvert speaks.
const (
	HTTP10 Proto = iota + 1
	HTTP11
	HTTP2
	HTTP3
)

// String prints as in logs: HTTP/1.1, HTTP/2.
func (p Proto) String() string {
	switch p {
	case HTTP10:
		return "HTTP/1.0"
	case HTTP11:
		return "HTTP/1.1"
	case HTTP2:
		return "HTTP/2"
	case HTTP3:
		return "HTTP/3"
	}
	return ""
}

// Request is a request head. Of a plain CONNECT, Scheme and Path are empty and
// Authority is host:port (RFC 9113 §8.5). Protocol is :protocol of an extended
// CONNECT (RFC 8441), or the Upgrade token of HTTP/1.1.
type Request struct {
	Proto     Proto
	Method    string
	Scheme    string
	Authority string
	// Path is :path, with the query; HasPath tells an empty :path that was sent
	// from none.
	Path     string
	HasPath  bool
	Protocol string
	Header   Fields
	// EndStream: no body and no bytes follow the head.
	EndStream bool
	// Repeatable: whoever sends the request sends nothing behind the head before
	// the answer, and takes it as asked once where it had to be asked twice, as
	// for a tunnel. It is sent nowhere.
	Repeatable bool
}

// IsConnect reports a CONNECT that is not an extended one for another protocol.
func (r *Request) IsConnect() bool { return r.Method == "CONNECT" && r.Protocol == "" }

// AsksTunnel reports a request for a tunnel, a CONNECT or an upgrade, of which
// no byte is forwarded before the answer (RFC 9931).
func (r *Request) AsksTunnel() bool { return r.Method == "CONNECT" || r.Protocol != "" }

// Response is a response head; a Status below 200 is informational and another
// head follows.
type Response struct {
	Status    int
	Header    Fields
	EndStream bool
	// Protocol is the Upgrade token of a 101: what the server has switched to,
	// which may be one of several that were asked for. It is beside the fields
	// because those of the hop are not forwarded. Empty when sent: the
	// request's.
	Protocol string
}

// Informational reports a 1xx head other than 101.
func (r *Response) Informational() bool { return r.Status/100 == 1 && r.Status != 101 }

// Success reports a 2xx.
func (r *Response) Success() bool { return r.Status/100 == 2 }
