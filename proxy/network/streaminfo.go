package network

import (
	"crypto/tls"
	"sync/atomic"
	"time"
)

// StreamInfo is what is known about one flow or one HTTP exchange. It belongs
// to the goroutine that serves the flow until Relay starts and is immutable
// from then until Relay returns, except for the Meter and the upstream record.
// Readers elsewhere (the flow table) use Snapshot.
type StreamInfo struct {
	// ID numbers the flow or exchange, ConnectionID the downstream connection
	// it came on; both unique in the process. StreamID is the HTTP stream's own
	// number, 0 outside HTTP.
	ID, ConnectionID, StreamID uint64
	// Kind is what the numbers count.
	Kind Kind
	// AcceptedEarly: inspection answered the SYN before the far end was reached.
	AcceptedEarly bool
	hops          int32 // see Hops
	// Parent is the info of the flow or connection this one came out of: the
	// connection of an exchange, the outer flow of an internal one. May be nil.
	Parent *StreamInfo
	Start  time.Time

	// RemoteAddress is the peer; LocalAddress is where it connected to: of a
	// captured flow, the destination the application asked for. The Direct
	// pair is what the socket says, before any filter restored an original.
	RemoteAddress, LocalAddress             Address
	DirectRemoteAddress, DirectLocalAddress Address
	// ServerName is the SNI, TLS the finished handshake; zero without TLS.
	ServerName string
	TLS        *tls.ConnectionState
	// ALPN is the negotiated application protocol.
	ALPN string

	Listener    string // listener name
	FilterChain string // matched chain's name
	Route       string // matched route's name
	Cluster     string // picked cluster's name
	Protocol    string // HTTP/1.1, HTTP/2, HTTP/3; empty for raw TCP

	// Metadata is Envoy's dynamic metadata: namespace, key, value.
	FilterState FilterState
	Metadata    map[string]map[string]any
	sharing     map[string]Sharing // of filter state, by name

	Meter Meter
	// Wire is what the exchange costs on its own stream; nil for a flow that is
	// all of its connection.
	Wire *WireMeter

	// Flags, Details (%RESPONSE_CODE_DETAILS%) and TerminationDetails
	// (%CONNECTION_TERMINATION_DETAILS%) say how it ended. ResponseCode is 0
	// outside HTTP.
	Flags              Flag
	ResponseCode       int
	Details            string
	TerminationDetails string
	// Attempts counts tries to reach an upstream.
	Attempts int
	// TransportFailure is why the last attempt's transport failed.
	TransportFailure string
	// Cause is the error the flow ended with; nil for a clean end.
	Cause error

	entered string // the internal listener that serves this flow, not those beneath it

	steps     []Step
	upstream  atomic.Pointer[UpstreamInfo]
	published publication
}

// Kind is what a StreamInfo is about.
type Kind uint8

// The kinds.
const (
	// KindFlow: bytes in both directions, captured, accepted or from inside.
	KindFlow Kind = iota
	// KindConnection: an HTTP connection, which carries exchanges.
	KindConnection
	// KindExchange: a request and its answer, or a tunnel.
	KindExchange
)

func (k Kind) String() string { return [...]string{"flow", "connection", "exchange"}[k] }

// UpstreamInfo is the endpoint that carries a flow. It is written once per
// attempt and never changed.
type UpstreamInfo struct {
	Cluster       string
	Host          Address // endpoint picked
	HostName      string  // endpoint's hostname field, else empty
	LocalAddress  Address
	RemoteAddress Address // as connected; differs from Host for names
	ConnectionID  uint64
	StreamID      uint64 // stream on a multiplexed connection
	Protocol      string
	TLS           *tls.ConnectionState
	Wire          *WireMeter // of the HTTP stream; nil where the connection is the flow's
}

// Step is one dated step of a flow, for the flow table and for explaining.
type Step struct {
	Name  string
	After time.Duration // the flow's Start
}

// Steps every flow may pass, in order.
const (
	StepMatched   = "matched"            // a filter chain or route is chosen
	StepPicked    = "endpoint_picked"    // an endpoint is chosen
	StepConnected = "upstream_connected" // its connection is up or reused
	StepRequested = "tunnel_requested"   // CONNECT or POST is sent
	StepAnswered  = "tunnel_answered"    // its answer is here
	StepAccepted  = "accepted"           // the application was told yes
	StepRejected  = "rejected"           // the application was told no
	StepEnded     = "ended"              // both directions are over
)

// steps is how many of them a tunnel that is open has behind it: at its gateway
// it is an exchange, which asks nobody further.
func (k Kind) steps() int {
	if k == KindExchange {
		return 4
	}
	return 6
}

// NewStreamInfo starts an info now.
func NewStreamInfo(id uint64) *StreamInfo {
	return &StreamInfo{ID: id, ConnectionID: id, Start: time.Now()}
}

// Child is the info of an exchange of a connection s. Addresses and TLS are
// carried; filter state and metadata are not.
func (s *StreamInfo) Child(id uint64) *StreamInfo {
	c := NewStreamInfo(id)
	c.Parent, c.ConnectionID = s, s.ConnectionID
	c.RemoteAddress, c.LocalAddress = s.RemoteAddress, s.LocalAddress
	c.DirectRemoteAddress, c.DirectLocalAddress = s.DirectRemoteAddress, s.DirectLocalAddress
	c.ServerName, c.TLS, c.ALPN = s.ServerName, s.TLS, s.ALPN
	c.Listener, c.FilterChain = s.Listener, s.FilterChain
	c.hops = s.hops
	return c
}

// InternalClient is the client's own address of an internal connection, which
// has no socket; the name is Envoy's.
func InternalClient() Address { return InternalAddress("internal_client_address", "") }

// Inner is the info of a flow that enters an internal listener: a connection of
// its own, without the outer one's TLS, names and chain. What a socket would say
// of it is left to InnerAt.
func (s *StreamInfo) Inner(id uint64) *StreamInfo {
	c := s.Child(id)
	c.ConnectionID = id
	c.TLS, c.ServerName, c.ALPN = nil, "", ""
	c.Listener, c.FilterChain = "", ""
	return c
}

// InnerAt is Inner with the addresses of a connection to the endpoint at: that
// of an internal listener, or an address bound to one. The peer stays whoever
// is known to be at the far end; what a socket would say of it is
// InternalClient. The local address is the endpoint, unless s was captured or
// an original destination restored: then it stays where the flow was going.
func (s *StreamInfo) InnerAt(id uint64, at Address) *StreamInfo {
	c := s.Inner(id)
	c.DirectRemoteAddress, c.DirectLocalAddress = InternalClient(), at
	if at.Kind == AddressIP || !s.Restored() {
		c.LocalAddress = at
	}
	return c
}

// SharedInner is the info of a connection to the internal endpoint at that
// several flows share, s being the first: of s it has only what tells a loop
// from a chain, and it does not hold on to s.
func (s *StreamInfo) SharedInner(id uint64, at Address) *StreamInfo {
	c := NewStreamInfo(id)
	c.RemoteAddress, c.DirectRemoteAddress = InternalClient(), InternalClient()
	c.LocalAddress, c.DirectLocalAddress = at, at
	c.hops, c.Parent = s.hops, s.visited()
	return c
}

// visited is the path of s through internal listeners and nothing else.
func (s *StreamInfo) visited() *StreamInfo {
	if s == nil {
		return nil
	}
	outer := s.Parent.visited()
	if s.entered == "" {
		return outer
	}
	return &StreamInfo{Parent: outer, Start: s.Start, hops: s.hops, entered: s.entered}
}

// Restored reports whether the local address is where the flow was going rather
// than where it arrived: it was captured, or a filter put the original back.
func (s *StreamInfo) Restored() bool {
	if s.LocalAddress.Kind != AddressIP {
		return false
	}
	for i := s; i != nil; i = i.Parent {
		if _, captured := i.FilterState.Lookup(StateDestination); captured {
			return true
		}
	}
	// Beyond a hop the socket's word is the endpoint, and the address has stayed.
	return !s.DirectLocalAddress.IsZero() && s.DirectLocalAddress != s.LocalAddress
}

// Mark dates a step and publishes.
func (s *StreamInfo) Mark(step string) {
	if s.steps == nil {
		s.steps = make([]Step, 0, s.Kind.steps())
	}
	s.steps = append(s.steps, Step{Name: step, After: time.Since(s.Start)})
	s.Publish()
}

// Steps are the steps so far, oldest first. The caller must not change them.
func (s *StreamInfo) Steps() []Step { return s.steps }

// SetMetadata stores a dynamic metadata value.
func (s *StreamInfo) SetMetadata(namespace, key string, value any) {
	if s.Metadata == nil {
		s.Metadata = make(map[string]map[string]any)
	}
	if s.Metadata[namespace] == nil {
		s.Metadata[namespace] = make(map[string]any)
	}
	s.Metadata[namespace][key] = value
}

// SetUpstream records the endpoint of the current attempt. u must not be
// changed afterwards.
func (s *StreamInfo) SetUpstream(u *UpstreamInfo) { s.upstream.Store(u) }

// Upstream is the endpoint of the last attempt; nil before the first.
func (s *StreamInfo) Upstream() *UpstreamInfo { return s.upstream.Load() }

// Duration is the time since Start.
func (s *StreamInfo) Duration() time.Duration { return time.Since(s.Start) }

// Fail notes an error that ends the flow: its flag and the error itself.
func (s *StreamInfo) Fail(err error) {
	s.Cause = err
	s.Flags |= FlagFor(err)
}

// Names of filter state that a captured flow always has (design, "The TUN in
// that model").
const (
	// StateDestination is name:port where the name is known, else ip:port.
	StateDestination = "culvert.destination"
	// StateDestinationHost is its host part alone.
	StateDestinationHost = "culvert.destination.host"
	// StateDestinationSource says where the name came from: address, dns, sni, host.
	StateDestinationSource = "culvert.destination.source"
)
