package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"culvert/bench/load"
	"culvert/bench/measure"
	"culvert/bench/process"
)

// hops is how many internal listeners the longer way goes through.
const hops = 3

// internalHops measures what internal listeners cost: processor time of culvert
// per 10^9 bytes, straight to the origin and through three internal listeners
// with a tcp_proxy each, in turns.
//
//	application -> listener, tcp_proxy [-> internal listener, tcp_proxy]... -> origin
func internalHops(ctx context.Context, out io.Writer, binary string, rounds int, duration time.Duration) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan struct{})
	go func() { load.Origin(ctx, ln); close(served) }() // ends with ctx
	defer func() { cancel(); <-served }()

	fmt.Fprintf(out, "culvert's CPU seconds per GB, %d rounds in turns, %v each\n", rounds, duration)
	fmt.Fprintf(out, "%-10s %-6s %10s %10s %8s   %s\n", "streams", "way", "no hop", fmt.Sprintf("%d hops", hops), "more", "90 % interval of it")
	for _, streams := range []int{1, 8} {
		for _, kind := range []load.Kind{load.Down, load.Up} {
			none, all := measure.Sample{}, measure.Sample{}
			for range rounds {
				l := load.Load{Kind: kind, Streams: streams, Duration: duration}
				for _, way := range []struct {
					hops int
					into *measure.Sample
				}{{0, &none}, {hops, &all}} {
					cost, err := throughHops(ctx, binary, way.hops, ln.Addr(), l)
					if err != nil {
						return fmt.Errorf("%v through %d hops: %w", l, way.hops, err)
					}
					*way.into = append(*way.into, cost)
				}
			}
			ratio, err := all.Over(none)
			if err != nil {
				return err
			}
			low, high := ratio.Interval()
			fmt.Fprintf(out, "%-10d %-6s %10.3f %10.3f %7.1f%%   %+.1f%% to %+.1f%%\n",
				streams, kind, none.Median(), all.Median(), 100*(ratio.Median()-1), 100*(low-1), 100*(high-1))
		}
	}
	return nil
}

// throughHops is the processor time per 10^9 bytes of a culvert that is started
// for this one load.
func throughHops(ctx context.Context, binary string, n int, origin net.Addr, l load.Load) (cost float64, err error) {
	dir, err := os.MkdirTemp("", "culvert-bench-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	front, err := freePort()
	if err != nil {
		return 0, err
	}
	config := filepath.Join(dir, "hops.yaml")
	if err := os.WriteFile(config, []byte(hopsConfig(front, origin, n)), 0o600); err != nil {
		return 0, err
	}
	p, err := process.Start(nil, "culvert", binary, "-c", config)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	dial := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", front.String())
	}
	if err := ready(ctx, p, dial); err != nil {
		return 0, err
	}
	before, err := p.CPU()
	if err != nil {
		return 0, err
	}
	result, err := l.Run(ctx, dial)
	if err != nil {
		return 0, err
	}
	after, err := p.CPU()
	if err != nil {
		return 0, err
	}
	return (after - before).Seconds() / (float64(result.Bytes) / 1e9), nil
}

// ready waits until somebody is served.
func ready(ctx context.Context, p *process.Process, dial load.Dial) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		_, err := load.Load{Kind: load.PingPong, Streams: 1}.Run(ctx, dial)
		if err == nil {
			return nil
		}
		select {
		case <-p.Exited():
			return errors.Join(fmt.Errorf("%s has ended, unasked", p.Name), p.Stop())
		case <-ctx.Done():
			return fmt.Errorf("%s serves nobody: %w", p.Name, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// freePort was free a moment ago.
func freePort() (*net.TCPAddr, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr), nil
}

// hopsConfig is a listener, n internal listeners behind it, and an origin.
func hopsConfig(front *net.TCPAddr, origin net.Addr, n int) string {
	socket := func(a net.Addr) string {
		return fmt.Sprintf("socket_address: {address: 127.0.0.1, port_value: %d}", a.(*net.TCPAddr).Port)
	}
	var listeners, clusters strings.Builder
	for i := range n + 1 {
		where, next := "internal_listener: {}", fmt.Sprintf("envoy_internal_address: {server_listener_name: hop%d}", i+1)
		if i == 0 {
			where = "address: {" + socket(front) + "}"
		}
		if i == n {
			next = socket(origin)
		}
		fmt.Fprintf(&listeners, `
  - name: hop%[1]d
    %[2]s
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: hop%[1]d
          cluster: behind_hop%[1]d`, i, where)
		fmt.Fprintf(&clusters, `
  - name: behind_hop%[1]d
    type: STATIC
    load_assignment:
      cluster_name: behind_hop%[1]d
      endpoints: [{lb_endpoints: [{endpoint: {address: {%[2]s}}}]}]`, i, next)
	}
	return `
bootstrap_extensions:
- name: envoy.bootstrap.internal_listener
  typed_config: {"@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}
static_resources:
  listeners:` + listeners.String() + "\n  clusters:" + clusters.String() + "\n"
}
