package listener

import (
	"testing"

	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

type matchM = listenerv3.FilterChainMatch

func TestMatchChain(t *testing.T) {
	cidrs := func(list ...*corev3.CidrRange) []*corev3.CidrRange { return list }
	type chains = []*listenerv3.FilterChain
	tests := []struct {
		name             string
		chains           chains
		remote, local    string
		serverName, alpn string
		direct           string // direct remote, if it differs
		want             string
	}{
		{
			name: "one chain takes all", chains: chains{chainOf("all", nil)}, want: "all",
		},
		{
			name: "port before prefix, no way back",
			chains: chains{
				chainOf("prefix", &matchM{PrefixRanges: cidrs(cidr("10.0.0.0", 8))}),
				chainOf("port", &matchM{DestinationPort: u32(443), PrefixRanges: cidrs(cidr("192.168.0.0", 16))}),
			},
			local: "10.1.1.1:443", want: "",
		},
		{
			name: "port is more specific",
			chains: chains{
				chainOf("all", nil),
				chainOf("port", &matchM{DestinationPort: u32(443)}),
			},
			local: "10.1.1.1:443", want: "port",
		},
		{
			name: "other port",
			chains: chains{
				chainOf("all", nil),
				chainOf("port", &matchM{DestinationPort: u32(443)}),
			},
			local: "10.1.1.1:80", want: "all",
		},
		{
			name: "longest prefix",
			chains: chains{
				chainOf("all", nil),
				chainOf("ten", &matchM{PrefixRanges: cidrs(cidr("10.0.0.0", 8))}),
				chainOf("ten-one", &matchM{PrefixRanges: cidrs(cidr("172.16.0.0", 12), cidr("10.1.0.0", 16))}),
			},
			local: "10.1.2.3:80", want: "ten-one",
		},
		{
			name: "shorter prefix when the longer does not contain",
			chains: chains{
				chainOf("ten", &matchM{PrefixRanges: cidrs(cidr("10.0.0.0", 8))}),
				chainOf("ten-one", &matchM{PrefixRanges: cidrs(cidr("10.1.0.0", 16))}),
			},
			local: "10.2.2.3:80", want: "ten",
		},
		{
			name:   "v6 prefix",
			chains: chains{chainOf("six", &matchM{PrefixRanges: cidrs(cidr("fd00::", 8))})},
			local:  "[fd00::1]:80", want: "six",
		},
		{
			name:   "v4 is in no v6 prefix",
			chains: chains{chainOf("six", &matchM{PrefixRanges: cidrs(cidr("::", 0))})},
			local:  "10.0.0.1:80", want: "",
		},
		{
			name: "longest prefix wins over a name that would match",
			chains: chains{
				chainOf("name", &matchM{ServerNames: []string{"a.example"}}),
				chainOf("prefix", &matchM{PrefixRanges: cidrs(cidr("10.0.0.0", 8))}),
			},
			local: "10.0.0.1:443", serverName: "a.example", want: "prefix",
		},
		{
			name: "exact name before wildcard",
			chains: chains{
				chainOf("wild", &matchM{ServerNames: []string{"*.example.com"}}),
				chainOf("exact", &matchM{ServerNames: []string{"www.example.com"}}),
			},
			serverName: "WWW.example.com", want: "exact",
		},
		{
			name: "longer suffix first",
			chains: chains{
				chainOf("com", &matchM{ServerNames: []string{"*.com"}}),
				chainOf("example", &matchM{ServerNames: []string{"*.example.com"}}),
			},
			serverName: "a.b.example.com", want: "example",
		},
		{
			name: "a wildcard does not match its own apex",
			chains: chains{
				chainOf("wild", &matchM{ServerNames: []string{"*.example.com"}}),
				chainOf("all", nil),
			},
			serverName: "example.com", want: "all",
		},
		{
			name: "no name is no match for a name",
			chains: chains{
				chainOf("name", &matchM{ServerNames: []string{"a.example"}}),
			},
			want: "",
		},
		{
			name: "raw_buffer is what is detected",
			chains: chains{
				chainOf("all", nil),
				chainOf("raw", &matchM{TransportProtocol: "raw_buffer"}),
				chainOf("tls", &matchM{TransportProtocol: "tls"}),
			},
			want: "raw",
		},
		{
			name: "tls is not detected",
			chains: chains{
				chainOf("all", nil),
				chainOf("tls", &matchM{TransportProtocol: "tls"}),
			},
			want: "all",
		},
		{
			name: "application protocol",
			chains: chains{
				chainOf("all", nil),
				chainOf("h2", &matchM{ApplicationProtocols: []string{"h2", "h3"}}),
			},
			alpn: "h2", want: "h2",
		},
		{
			name: "direct source",
			chains: chains{
				chainOf("all", nil),
				chainOf("lb", &matchM{DirectSourcePrefixRanges: cidrs(cidr("192.0.2.0", 24))}),
			},
			remote: "198.51.100.1:1000", direct: "192.0.2.9:2000", want: "lb",
		},
		{
			name: "source type local by loopback",
			chains: chains{
				chainOf("external", &matchM{SourceType: listenerv3.FilterChainMatch_EXTERNAL}),
				chainOf("local", &matchM{SourceType: listenerv3.FilterChainMatch_SAME_IP_OR_LOOPBACK}),
			},
			remote: "127.0.0.1:5000", want: "local",
		},
		{
			name: "source type local by same address",
			chains: chains{
				chainOf("external", &matchM{SourceType: listenerv3.FilterChainMatch_EXTERNAL}),
				chainOf("local", &matchM{SourceType: listenerv3.FilterChainMatch_SAME_IP_OR_LOOPBACK}),
			},
			remote: "192.0.2.1:5000", local: "192.0.2.1:80", want: "local",
		},
		{
			name: "source type external",
			chains: chains{
				chainOf("all", nil),
				chainOf("external", &matchM{SourceType: listenerv3.FilterChainMatch_EXTERNAL}),
				chainOf("local", &matchM{SourceType: listenerv3.FilterChainMatch_SAME_IP_OR_LOOPBACK}),
			},
			remote: "192.0.2.1:5000", local: "192.0.2.2:80", want: "external",
		},
		{
			name: "source prefix then port, no way back",
			chains: chains{
				chainOf("all", nil),
				chainOf("port", &matchM{SourcePrefixRanges: cidrs(cidr("192.0.2.0", 24)), SourcePorts: []uint32{7}}),
			},
			remote: "192.0.2.1:8", want: "",
		},
		{
			name: "source port",
			chains: chains{
				chainOf("all", nil),
				chainOf("port", &matchM{SourcePorts: []uint32{7, 8}}),
			},
			remote: "192.0.2.1:8", want: "port",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := New(internal(&listenerv3.Listener{Name: "l", FilterChains: tt.chains}), testDeps(handlers{"f": nil}))
			if err != nil {
				t.Fatal(err)
			}
			info := network.NewStreamInfo(1)
			info.RemoteAddress, info.LocalAddress = address("203.0.113.1:1234"), address("203.0.113.2:80")
			if tt.remote != "" {
				info.RemoteAddress = address(tt.remote)
			}
			if tt.local != "" {
				info.LocalAddress = address(tt.local)
			}
			info.DirectRemoteAddress = info.RemoteAddress
			if tt.direct != "" {
				info.DirectRemoteAddress = address(tt.direct)
			}
			info.ServerName, info.ALPN = tt.serverName, tt.alpn
			got := ""
			if c := l.match(info); c != nil {
				got = c.name
			}
			if got != tt.want {
				t.Errorf("matched %q, want %q", got, tt.want)
			}
		})
	}
}

// What has no IP (a unix socket) lies in no prefix, and matches what asks none.
func TestMatchPipe(t *testing.T) {
	l, err := New(internal(&listenerv3.Listener{Name: "l", FilterChains: []*listenerv3.FilterChain{
		chainOf("prefix", &matchM{PrefixRanges: []*corev3.CidrRange{cidr("0.0.0.0", 0)}}),
		chainOf("local", &matchM{SourceType: listenerv3.FilterChainMatch_SAME_IP_OR_LOOPBACK}),
	}}), testDeps(handlers{"f": nil}))
	if err != nil {
		t.Fatal(err)
	}
	info := network.NewStreamInfo(1)
	info.RemoteAddress, info.LocalAddress = network.PipeAddress("@"), network.PipeAddress("/run/x")
	if c := l.match(info); c == nil || c.name != "local" {
		t.Errorf("matched %v", c)
	}
}
