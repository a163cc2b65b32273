package admin

import (
	"strings"
	"testing"
)

// The home page has a link for what shows, a button for what changes, and
// neither loads nor runs anything.
func TestHome(t *testing.T) {
	r := newRig()
	r.pages["/<script>"] = page{path: "/<script>", help: `<img src="x">`}
	w := r.get("/")
	body := w.Body.String()
	for _, want := range []string{
		`<td><a href="/stats">/stats</a></td><td>print server stats</td>`,
		`<form action="/quitquitquit" method="post"><button>/quitquitquit</button></form>`,
		"&lt;script&gt;", "&lt;img src=",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in %s", want, body)
		}
	}
	if strings.Contains(body, "<script") || strings.Contains(body, "<img") {
		t.Errorf("markup of others in %s", body)
	}
	h := w.Header()
	if h.Get("Content-Type") != "text/html; charset=UTF-8" || h.Get("Content-Security-Policy") != policy || h.Get("X-Frame-Options") != "DENY" {
		t.Errorf("headers %v", h)
	}
}
