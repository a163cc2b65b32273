package admin

import (
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
)

func (s *Server) help(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, "admin commands are:")
	s.list(w)
}

// list writes a line for each page, by path.
func (s *Server) list(w http.ResponseWriter) {
	for _, p := range s.sorted() {
		mark := ""
		if p.changes {
			mark = " (POST)"
		}
		fmt.Fprintf(w, "  %s%s: %s\n", p.path, mark, p.help)
	}
}

func (s *Server) sorted() []page {
	out := make([]page, 0, len(s.pages))
	for _, path := range slices.Sorted(maps.Keys(s.pages)) {
		out = append(out, s.pages[path])
	}
	return out
}

// policy lets the home page load nothing, run nothing, be framed by nobody (a
// click on one of its buttons is meant), and send its forms here alone.
const policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"

const homeHTML = `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>culvert admin</title>
<style>body{font-family:sans-serif} td{padding:.2em .6em} form{margin:0}</style></head>
<body>
<table>
<thead><tr><th>Command</th><th>Description</th></tr></thead>
<tbody>
{{range .}}<tr><td>{{if .Changes}}<form action="{{.Path}}" method="post"><button>{{.Path}}</button></form>{{else}}<a href="{{.Path}}">{{.Path}}</a>{{end}}</td><td>{{.Help}}</td></tr>
{{end}}</tbody>
</table>
</body>
</html>
`

// home is the same list for a browser, with a button for what changes
// something.
func (s *Server) home(w http.ResponseWriter, _ *http.Request) {
	type row struct {
		Path, Help string
		Changes    bool
	}
	var rows []row
	for _, p := range s.sorted() {
		rows = append(rows, row{p.path, p.help, p.changes})
	}
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("X-Frame-Options", "DENY")
	_ = template.Must(template.New("home").Parse(homeHTML)).Execute(w, rows) // the reader is gone
}
