package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Break is something the demo gets wrong on purpose, to show that it notices.
type Break string

// What can be broken.
const (
	BreakNothing Break = ""
	BreakGateway Break = "gateway" // the gateway dies before the download
	BreakSHA     Break = "sha"     // the origin sends one wrong byte
	BreakRefuse  Break = "refuse"  // the closed port is open
)

// ParseBreak checks a name given by a person.
func ParseBreak(s string) (Break, error) {
	switch b := Break(s); b {
	case BreakNothing, BreakGateway, BreakSHA, BreakRefuse:
		return b, nil
	}
	return "", fmt.Errorf("break %q: want gateway, sha or refuse", s)
}

// within bounds the whole demo.
const within = 55 * time.Second

// errFailed is the demo's verdict if a single thing did not hold.
var errFailed = errors.New("the demo did not hold")

// Run shows the demo on out. The caller may make network namespaces and TUNs.
// It returns an error unless everything held.
func Run(ctx context.Context, out io.Writer, b Break) (err error) {
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, within, errors.New("the demo took too long"))
	defer cancel()
	w, err := newWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	d := &demo{w: w, out: &printer{w: out}, breaks: b, origin: newOrigin(b == BreakSHA)}
	defer func() { err = errors.Join(err, d.closeOrigin()) }()
	d.out.topology()
	if err := d.startAll(ctx); err != nil {
		return err
	}
	d.download(ctx)
	d.downloadIPv6(ctx)
	d.verdicts(ctx)
	d.logs()
	if d.out.failures > 0 {
		return fmt.Errorf("%w: %d of %d checks FAILED", errFailed, d.out.failures, d.out.checks)
	}
	d.out.say("\n%d checks held in %.1f s. Nothing on this host was changed.\n", d.out.checks, time.Since(start).Seconds())
	return nil
}

type demo struct {
	w       *world
	out     *printer
	breaks  Break
	origin  *originServer
	opened  []net.Listener // to close beside the origin's
	capture *process
	gateway *process
}

// startAll starts the far end first: the origin, the gateway, then the capture.
func (d *demo) startAll(ctx context.Context) (err error) {
	for _, a := range []string{originAddress4, originAddress6} {
		ln, err := d.w.origin.Listen(ctx, "tcp", net.JoinHostPort(a, strconv.Itoa(originPort)))
		if err != nil {
			return err
		}
		d.origin.listen(ln)
	}
	if d.breaks == BreakRefuse {
		ln, err := d.w.origin.Listen(ctx, "tcp", net.JoinHostPort(originAddress4, strconv.Itoa(closedPort)))
		if err != nil {
			return err
		}
		d.opened = append(d.opened, ln)
	}
	if d.gateway, err = d.w.start(ctx, "gateway", d.w.gateway, gatewayConfig(d.w)); err != nil {
		return err
	}
	if d.capture, err = d.w.start(ctx, "capture", d.w.client, captureConfig(d.w, d.w.app.Path())); err != nil {
		return err
	}
	if d.breaks == BreakGateway {
		d.gateway.kill()
	}
	return nil
}

func (d *demo) closeOrigin() error {
	errs := []error{d.origin.close()}
	for _, ln := range d.opened {
		errs = append(errs, ln.Close())
	}
	return errors.Join(errs...)
}

// download fetches the file and shows the flow table while it is open.
func (d *demo) download(ctx context.Context) {
	url := fmt.Sprintf("http://%s/file", net.JoinHostPort(originAddress4, strconv.Itoa(originPort)))
	client := d.client()
	d.out.title("A download of %d MiB, by %s, which knows nothing of tunnels", downloadSize>>20, client.name)
	d.out.command("app", client.show(url))
	type result struct {
		got hash
		err error
	}
	done := make(chan result, 1)
	start := time.Now()
	go func() { // ends with the download, or with ctx
		got, err := client.get(ctx, url)
		done <- result{got, err}
	}()
	var r result
	select {
	case <-d.origin.paused:
		d.showFlows(ctx, "capture", d.capture)
		d.showFlows(ctx, "gateway", d.gateway)
		close(d.origin.resume)
		r = <-done
	case r = <-done:
	}
	took := time.Since(start)
	if r.err != nil {
		d.out.check(false, "download: %v", r.err)
		return
	}
	d.out.check(r.got.bytes == downloadSize && r.got.digest == d.origin.digest,
		"%d bytes in %.2f s, SHA-256 %s… as the origin's %s…", r.got.bytes, took.Seconds(), r.got.digest[:16], d.origin.digest[:16])
}

func (d *demo) showFlows(ctx context.Context, who string, p *process) {
	page, err := p.get(ctx, "/flows")
	if err != nil {
		d.out.check(false, "/flows of the %s: %v", who, err)
		return
	}
	d.out.block("/flows of the "+who+", half-way", page)
	open := strings.Contains(page, "open") && strings.Contains(page, originAddress4)
	d.out.check(open, "the %s sees the flow open, by its destination", who)
}

func (d *demo) downloadIPv6(ctx context.Context) {
	url := fmt.Sprintf("http://%s/", net.JoinHostPort(originAddress6, strconv.Itoa(originPort)))
	got, err := d.client().get(ctx, url)
	d.out.check(err == nil && got.bytes > 0, "IPv6 as well: %s (%s)", url, errorOr(err, "answered"))
}

// logs shows the last record of each end: one line a flow.
func (d *demo) logs() {
	d.out.title("One access-log record per flow, at each end")
	for _, name := range []string{"capture", "gateway"} {
		var line string
		for range 50 { // loggers write behind, within a second
			if line = lastLine(d.w.file(name+".log"), originAddress4); line != "" {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		d.out.block(name, line)
		d.out.check(line != "", "the %s logged its flows", name)
	}
}

// lastLine is the last line of a file that contains what.
func lastLine(path, what string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	found := ""
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, what) {
			found = line
		}
	}
	return strings.TrimSpace(found)
}

func errorOr(err error, text string) string {
	if err != nil {
		return err.Error()
	}
	return text
}
