package demo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"culvert/appliance"
	"culvert/configs"
)

func TestParseBreak(t *testing.T) {
	for _, s := range []string{"", "gateway", "sha", "refuse"} {
		if b, err := ParseBreak(s); err != nil || string(b) != s {
			t.Errorf("%q: %q, %v", s, b, err)
		}
	}
	if _, err := ParseBreak("all"); err == nil || err.Error() != `break "all": want gateway, sha or refuse` {
		t.Errorf("error %v", err)
	}
}

// The configurations of the demo are examples: they are as good as any other.
func TestConfigurations(t *testing.T) {
	w := &world{dir: t.TempDir()}
	if err := w.writeCertificates(); err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"gateway": gatewayConfig(w), "capture": captureConfig(w, "/proc/self/ns/net")}
	for name, text := range texts {
		path := filepath.Join(w.dir, name+".yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		warnings, problems := appliance.Validate(configs.Source{Path: path})
		for _, p := range append(warnings, problems...) {
			t.Error(p)
		}
	}
}

// The origin stops half-way until it is told to go on; one byte is wrong where
// that was asked for.
func TestOrigin(t *testing.T) {
	for _, corrupt := range []bool{false, true} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		o := newOrigin(corrupt)
		o.listen(ln)
		url := "http://" + ln.Addr().String()
		go func() { // ends with the download
			<-o.paused
			close(o.resume)
		}()
		dial := (&net.Dialer{}).DialContext
		got, err := fetch(t.Context(), dial, url+"/file")
		if err != nil || got.bytes != downloadSize || (got.digest == o.digest) == corrupt {
			t.Errorf("corrupt %t: %+v, %v, want digest %s", corrupt, got, err, o.digest)
		}
		if got, err := fetch(t.Context(), dial, url+"/"); err != nil || got.bytes == 0 {
			t.Errorf("greeting: %+v, %v", got, err)
		}
		if err := o.close(); err != nil {
			t.Error(err)
		}
		if _, err := fetch(t.Context(), dial, url+"/"); err == nil {
			t.Error("the origin answers after its end")
		}
	}
}

func TestPrinter(t *testing.T) {
	var out bytes.Buffer
	p := &printer{w: &out}
	p.check(true, "one %d", 1)
	p.check(false, "two")
	p.block("name", "a\nb\n")
	if p.checks != 2 || p.failures != 1 {
		t.Errorf("%d checks, %d failures", p.checks, p.failures)
	}
	if want := "  ok      one 1\n  FAILED  two\n  name:\n    a\n    b\n\n"; out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
}

// The picture is a picture: its lines are of one width.
func TestTopology(t *testing.T) {
	var out bytes.Buffer
	(&printer{w: &out}).topology()
	width := 0
	for line := range strings.Lines(out.String()) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.ContainsAny(line, "┌│└") {
			continue
		}
		if n := utf8.RuneCountInString(line); width == 0 {
			width = n
		} else if n != width {
			t.Errorf("%d runes, want %d: %s", n, width, line)
		}
	}
}

func TestDigestOf(t *testing.T) {
	sum := sha256.Sum256([]byte("abc"))
	got, err := digestOf(strings.NewReader("abc"))
	if err != nil || got.bytes != 3 || got.digest != hex.EncodeToString(sum[:]) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestLastLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("a 1\nb 1\na 2\nb 2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := lastLine(path, "a"); got != "a 2" {
		t.Errorf("last line %q", got)
	}
	if got := lastLine(path, "c"); got != "" {
		t.Errorf("last line %q of none", got)
	}
	if got := lastLine(path+"x", "a"); got != "" {
		t.Errorf("last line %q of no file", got)
	}
}
