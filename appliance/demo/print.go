package demo

import (
	"fmt"
	"io"
	"strings"
)

// printer writes the demo for a person and counts what held.
type printer struct {
	w                io.Writer
	checks, failures int
}

func (p *printer) say(format string, args ...any) { fmt.Fprintf(p.w, format, args...) }

func (p *printer) title(format string, args ...any) {
	p.say("\n"+format+"\n\n", args...)
}

func (p *printer) command(where, line string) { p.say("  %s$ %s\n\n", where, line) }

// block prints a text indented under a name.
func (p *printer) block(name, text string) {
	p.say("  %s:\n", name)
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		p.say("    %s", line)
	}
	p.say("\n\n")
}

// check prints one thing that must hold.
func (p *printer) check(held bool, format string, args ...any) {
	p.checks++
	mark := "  ok      "
	if !held {
		p.failures++
		mark = "  FAILED  "
	}
	p.say(mark+format+"\n", args...)
}

func (p *printer) topology() {
	p.say(`culvert demo: four network namespaces on this machine, joined by virtual links.

  app                    client                  gateway                   origin
 ┌───────────────┐      ┌───────────────┐       ┌────────────────┐       ┌────────────────┐
 │ curl          │      │ culvert       │ HTTP/2│ culvert        │  TCP  │ HTTP server    │
 │   only way    │ TUN  │  captures,    │CONNECT│  terminates,   │       │ %-14s │
 │   out: TUN ───┼──────┼─▶ tunnels ────┼──TLS──┼─▶ connects ────┼───────┼─▶ %-12s │
 │ 198.18.0.1    │      │ %-13s │       │ %-14s │       │                │
 └───────────────┘      └───────────────┘       └────────────────┘       └────────────────┘
`, originAddress4, "port 80", clientAddress, gatewayAddress)
}
