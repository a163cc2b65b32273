package h1

import "time"

// Config are the limits and timers of a connection, in either role. A zero
// field is its default; a negative duration turns a timer off.
type Config struct {
	// ConnectionID is what Stream.ConnectionID answers. The owner numbers its
	// connections.
	ConnectionID uint64

	// MaxHeadBytes bounds a head, and a trailer section, in bytes as sent
	// (default 60 KiB); beyond it a request is answered 431.
	MaxHeadBytes int
	// MaxRequestLine bounds the request line, bytes (default 32 KiB); beyond it
	// a request is answered 414.
	MaxRequestLine int
	// MaxHeaders bounds the field lines of a head, and of trailers (default
	// 100); beyond it a request is answered 431.
	MaxHeaders int
	// MaxRequests is how many requests a connection carries (default no bound).
	MaxRequests int

	// AcceptHTTP10 takes HTTP/1.0 requests, each the last of its connection;
	// without it they are answered 426 (server).
	AcceptHTTP10 bool
	// DefaultHost is the authority of an HTTP/1.0 request without Host (server).
	DefaultHost string
	// IgnoreUpgrade tells of an Upgrade token that it is not to be offered to
	// anybody; nil ignores none. h2c is always ignored (server).
	IgnoreUpgrade func(token string) bool
	// AllowHalfClose: a client that ends its direction behind a whole request
	// still waits for the answer. Otherwise it has left (server).
	AllowHalfClose bool
	// Underscores says what to do with field names that have one.
	Underscores Underscores

	// HeaderCase is the case of field names as sent.
	HeaderCase HeaderCase
	// AbsoluteForm sends the whole URI as the request target (client).
	AbsoluteForm bool

	// HeadTimeout bounds the time from the first byte of a request's head to
	// its last (server; default 30 s); beyond it the answer is 408.
	HeadTimeout time.Duration
	// HeadTimedOut is called when it has expired, before the answer. May be nil
	// (server).
	HeadTimedOut func()
	// IdleTimeout ends a connection on which no exchange is under way (default
	// none).
	IdleTimeout time.Duration
	// DrainTimeout is how long the exchange under way may go on after a drain
	// began (server; default 30 s).
	DrainTimeout time.Duration
	// Ending is asked at each final response (server), must not wait, and may be
	// nil. Where it is true the exchange is the connection's last.
	Ending func() bool
	// LingerTimeout is how long a connection that we end is still read, so that
	// what the peer is sending does not reset our last answer away (server;
	// default 1 s).
	LingerTimeout time.Duration

	// Stats counts what happens; nil counts nothing.
	Stats *Stats
	// StreamClosed is called after each stream's Close, outside any lock: the
	// connection may be free, or over. May be nil (client).
	StreamClosed func()
}

// HeaderCase is how field names are written.
type HeaderCase uint8

// The cases. Field names mean the same in all of them; some old peers differ.
const (
	PreserveCase HeaderCase = iota // as they came, or as whoever added them wrote them
	ProperCase                     // Content-Type
	LowerCase                      // content-type
)

// Underscores is Envoy's headers_with_underscores_action.
type Underscores uint8

// What becomes of a field whose name has an underscore, which some programs
// take for a hyphen.
const (
	AllowUnderscores Underscores = iota
	RejectUnderscores
	DropUnderscores
)

// Bounds that nobody has had a reason to set.
const (
	maxMethod        = 64       // bytes; longer than any method there is (RFC 9112 §3)
	maxBlankLines    = 4        // before a request line (RFC 9112 §2.2)
	maxChunkLine     = 1 << 10  // bytes of a chunk-size line with its extensions
	maxExtensions    = 16 << 10 // bytes of chunk extensions in a whole body
	maxInformational = 16       // 1xx heads before a final one
	maxDiscard       = 256 << 10
)

func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	wait := func(v *time.Duration, d time.Duration) {
		switch {
		case *v == 0:
			*v = d
		case *v < 0:
			*v = 0
		}
	}
	def(&c.MaxHeadBytes, 60<<10)
	def(&c.MaxRequestLine, 32<<10)
	def(&c.MaxHeaders, 100)
	wait(&c.HeadTimeout, 30*time.Second)
	wait(&c.IdleTimeout, 0)
	wait(&c.DrainTimeout, 30*time.Second)
	wait(&c.LingerTimeout, time.Second)
	if c.Stats == nil {
		c.Stats = noStats()
	}
	return c
}
