package h2

import "time"

// Config are the limits and timers of a connection, in either role. A zero
// field is its default; a negative duration turns a timer off.
type Config struct {
	// ConnectionID is what Stream.ConnectionID answers. The owner numbers its
	// connections.
	ConnectionID uint64

	// MaxConcurrentStreams is how many streams a client may have open (server;
	// default 1024). A stream beyond is refused.
	MaxConcurrentStreams int
	// StreamWindow and ConnWindow are the receive windows, bytes (defaults
	// 1 MiB and 16 MiB, at least 64 KiB - 1). StreamWindow, and what it has
	// grown by, bounds what a stream whose reader is stuck holds in memory.
	StreamWindow, ConnWindow int
	// MayGrow says whether the window of a stream may grow, up to 8 MiB, over a
	// long path whose limit it seems to be. It is asked each time, with a lock
	// held, and must not wait. nil: StreamWindow it is.
	MayGrow func() bool
	// MaxFrameSize is the largest frame we take, and the largest we send where
	// the peer takes it, bytes (default 256 KiB, at least 16 KiB).
	MaxFrameSize int
	// MaxHeaderListSize bounds a header list as RFC 9113 §6.5.2 counts it,
	// bytes (default 60 KiB), MaxHeaders its lines (default 100).
	MaxHeaderListSize, MaxHeaders int
	// HeaderTableSize is the HPACK table we let the peer's encoder use, and the
	// most our own uses, bytes (default 4096).
	HeaderTableSize int
	// AllowConnect offers extended CONNECT (RFC 8441; server).
	AllowConnect bool

	// KeepaliveInterval is how long the connection may be silent, while streams
	// are open, before it is asked with a PING; KeepaliveTimeout how long it
	// may stay silent after that. Defaults: client 5 s and 4 s, so that a dead
	// gateway is noticed within 10 s; server 60 s and 15 s.
	KeepaliveInterval, KeepaliveTimeout time.Duration
	// MadeAhead says that no request waits for the connection: its first one may
	// find it long dead, as any other (client).
	MadeAhead bool
	// IdleTimeout ends a connection without streams (default none).
	IdleTimeout time.Duration
	// DrainTimeout is how long streams may go on after a drain began (default
	// 30 s).
	DrainTimeout time.Duration
	// Ending is asked at each final response of a server, must not wait, and may
	// be nil. Once it is true the client is told to open its next stream
	// elsewhere, as in a drain; the streams that are open have all the time they
	// want.
	Ending func() bool
	// HeadTimeout bounds the time from the first frame of a request's head to
	// its last (server; default 30 s); beyond it the answer is 408.
	HeadTimeout time.Duration
	// HeadTimedOut is called when it has expired, outside any lock. May be nil
	// (server).
	HeadTimedOut func()
	// PrefaceTimeout bounds the wait for the peer's preface and first SETTINGS
	// (default 10 s), SettingsTimeout that for the acknowledgement of ours
	// (default 10 s).
	PrefaceTimeout, SettingsTimeout time.Duration
	// FlushTimeout resets a stream whose Write has waited so long for the
	// peer's flow control (default none: a tunnel may be paused for long).
	FlushTimeout time.Duration

	// Flood limits; the connection ends with ENHANCE_YOUR_CALM beyond them.
	// Frames waiting to be written (default 10000), and those among them that
	// the peer provoked: acknowledgements and resets (default 1000).
	MaxOutboundFrames, MaxOutboundControlFrames int
	// MaxEmptyFrames is how many frames without payload and END_STREAM may
	// follow each other (default 1).
	MaxEmptyFrames int
	// MaxPriorityFrames is the PRIORITY frames allowed per stream (default 100).
	MaxPriorityFrames int
	// MaxWindowUpdates is the WINDOW_UPDATE frames allowed per 16 KiB sent
	// (default 10).
	MaxWindowUpdates int

	// Stats counts what happens; nil counts nothing.
	Stats *Stats
	// StreamClosed is called after each stream's Close, outside any lock: room
	// for another may be there. May be nil.
	StreamClosed func()
}

// Buffering is c for a new connection whose streams buffer what c says or, where
// it does not, what window says there is room for, and then they may grow as
// MayGrow. Both may be nil.
func (c Config) Buffering(window func() int, mayGrow func() bool) Config {
	if c.StreamWindow > 0 {
		return c
	}
	c.MayGrow = mayGrow
	if window != nil {
		c.StreamWindow = window()
	}
	return c
}

// Bounds the protocol sets, bytes.
const (
	minWindow       = 65535 // RFC 9113 §6.9.2: the window before SETTINGS
	maxWindow       = 1<<31 - 1
	minMaxFrameSize = 16384 // RFC 9113 §4.2
	maxMaxFrameSize = 1<<24 - 1
)

func (c Config) withDefaults(server bool) Config {
	def := func(v *int, d int) {
		if *v == 0 {
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
	def(&c.MaxConcurrentStreams, 1024)
	def(&c.StreamWindow, 1<<20)
	def(&c.ConnWindow, 16<<20)
	def(&c.MaxFrameSize, 256<<10)
	def(&c.MaxHeaderListSize, 60<<10)
	def(&c.MaxHeaders, 100)
	def(&c.HeaderTableSize, 4096)
	def(&c.MaxOutboundFrames, 10000)
	def(&c.MaxOutboundControlFrames, 1000)
	def(&c.MaxEmptyFrames, 1)
	def(&c.MaxPriorityFrames, 100)
	def(&c.MaxWindowUpdates, 10)
	c.StreamWindow = min(max(c.StreamWindow, minWindow), maxWindow)
	c.ConnWindow = min(max(c.ConnWindow, minWindow), maxWindow)
	c.MaxFrameSize = min(max(c.MaxFrameSize, minMaxFrameSize), maxMaxFrameSize)

	interval, timeout := 5*time.Second, 4*time.Second
	if server {
		interval, timeout = time.Minute, 15*time.Second
	}
	wait(&c.KeepaliveInterval, interval)
	wait(&c.KeepaliveTimeout, timeout)
	if c.KeepaliveTimeout == 0 {
		c.KeepaliveInterval = 0
	}
	wait(&c.IdleTimeout, 0)
	wait(&c.HeadTimeout, 30*time.Second)
	wait(&c.DrainTimeout, 30*time.Second)
	wait(&c.PrefaceTimeout, 10*time.Second)
	wait(&c.SettingsTimeout, 10*time.Second)
	wait(&c.FlushTimeout, 0)
	if c.Stats == nil {
		c.Stats = noStats()
	}
	return c
}
