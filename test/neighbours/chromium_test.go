package neighbours

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/peer"
	"culvert/test/program"
)

// browsesWithin bounds one run of the browser.
const browsesWithin = 3 * time.Minute

// page fetches a stream and sends it back, while it is still being parsed: the
// browser dumps what is there when that has ended.
const page = `<!DOCTYPE html><title>street</title><body><script>
const down = new XMLHttpRequest();
down.open("GET", "/down", false);
down.overrideMimeType("text/plain; charset=x-user-defined");
down.send();
const bytes = Uint8Array.from(down.responseText, c => c.charCodeAt(0) & 255);
const up = new XMLHttpRequest();
up.open("POST", "/up", false);
up.send(bytes);
document.write("received " + bytes.length + ", sent: " + up.status);
</script></body>`

// culvert is the HTTPS proxy of a browser, which speaks HTTP/2 to it.
func TestChromium(t *testing.T) {
	need.Long(t)
	chromium := need.Command(t, "chromium-headless-shell")
	s := newStreet(t)
	file := peer.Stream{Seed: 1, Size: 4 << 20} // a script holds it four times over
	w := &web{page: page, up: file, down: file}
	w.start(s)
	s.startExit(exit{TLS: true})
	proxy, err := tls.LoadX509KeyPair(s.file("exit.pem"), s.file("exit.key"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := program.Contained(t, s.app, "", chromium,
		"--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir="+s.file("profile"), "--proxy-server=https://"+exitAddress,
		"--ignore-certificate-errors-spki-list="+pin(t, proxy)+","+pin(t, s.webCertificate()),
		"--dump-dom", "https://"+originAddress+"/")
	cmd.Env = append(cmd.Environ(), "HOME="+s.dir)
	var said program.Tail
	cmd.Stderr = &said
	ctx, cancel := context.WithTimeout(t.Context(), browsesWithin)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop() // before cancel
	dom, err := cmd.Output()
	if want := fmt.Sprintf("received %d, sent: 200", file.Size); err != nil || !strings.Contains(string(dom), want) {
		t.Errorf("the browser: %v; the page is %s\n%s", err, dom, said.Text())
	}
	select {
	case err := <-w.uploaded:
		if err != nil {
			t.Errorf("origin: %v", err)
		}
	default:
		t.Error("origin: nothing was sent")
	}
	want := "HTTP/2 CONNECT " + originAddress + ":" + webPort + " 200 "
	if log := s.records(1); !slices.ContainsFunc(log, func(l string) bool { return strings.HasPrefix(l, want) }) {
		t.Errorf("the access log has %q, want %q", log, want)
	}
}

// pin is how the browser is told to trust a certificate.
func pin(t *testing.T, pair tls.Certificate) string {
	t.Helper()
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}
