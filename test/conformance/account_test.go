package main

import (
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden account anew")

// stream is what `go test -json` says of tests: "action name" each, and what it
// printed.
func stream(t *testing.T, lines ...string) string {
	t.Helper()
	var out strings.Builder
	enc := json.NewEncoder(&out)
	for _, line := range lines {
		f := strings.SplitN(line, " ", 3)
		e := event{Action: f[0], Package: "culvert/tunnel", Test: f[1]}
		if len(f) == 3 {
			if err := enc.Encode(event{Action: "output", Package: e.Package, Test: e.Test, Output: f[2] + "\n"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := enc.Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

// inEach are the events of a test in each of the places but some.
func inEach(s scope, test string, but ...string) (lines []string) {
	for _, p := range s.places() {
		if !slices.Contains(but, p) {
			lines = append(lines, "pass "+test+"/"+p)
		}
	}
	return append(lines, "pass "+test)
}

// accountOf judges a made-up run by made-up lists.
func accountOf(t *testing.T, exemptions string, lines []string) account {
	t.Helper()
	list, err := parseBehaviours("## E (each mode)\nE01  bytes\nE02  ends\n## F (each pair)\nF01  passes\n## H (once)\nH01  first\nH02  second\n")
	if err != nil {
		t.Fatal(err)
	}
	exempt, err := parseExemptions(exemptions, list)
	if err != nil {
		t.Fatal(err)
	}
	res, err := readResults(strings.NewReader(stream(t, lines...)))
	if err != nil {
		t.Fatal(err)
	}
	return judge(list, exempt, res)
}

// whole is a run in which everything passes.
func whole() []string {
	return slices.Concat(inEach(eachMode, "TestE01Bytes"), inEach(eachMode, "TestEnds/E02_end"),
		inEach(eachPair, "TestF01Passes"), []string{"pass TestH01H02Order"})
}

func TestAccount(t *testing.T) {
	failing := strings.ReplaceAll(strings.Join(whole(), "\n"), "pass TestE01Bytes/HTTP2-POST\n", "fail TestE01Bytes/HTTP2-POST it broke\n")
	tests := []struct {
		name, exemptions string
		lines            []string
		id               string // of the behaviour looked at
		want             verdict
		note             string // in its notes
	}{
		{name: "all is well", lines: whole(), id: "E01", want: passed},
		{name: "in a case", lines: whole(), id: "E02", want: passed},
		{name: "in part", exemptions: "E01  in part: reason", lines: whole(), id: "E01", want: passed, note: "in part: reason"},
		{name: "not there", lines: inEach(eachMode, "TestE01Bytes"), id: "E02", want: missing},
		{name: "a mode short", lines: inEach(eachMode, "TestE01Bytes", "HTTP2-POST"), id: "E01", want: missing, note: "not in HTTP2-POST"},
		{name: "a pair short", lines: inEach(eachPair, "TestF01Passes", "HTTP2-HTTP11"), id: "F01", want: missing, note: "not in HTTP2-HTTP11"},
		{name: "in no mode", lines: []string{"pass TestE01Bytes"}, id: "E01", want: missing, note: "not in HTTP11-CONNECT, "},
		{name: "a mode exempt", exemptions: "E01  HTTP2-POST: reason", lines: inEach(eachMode, "TestE01Bytes", "HTTP2-POST"), id: "E01", want: passed},
		{name: "a mode exempt that passed", exemptions: "E01  HTTP2-POST: reason", lines: whole(), id: "E01", want: wrong, note: "in HTTP2-POST, but passed there: tunnel.TestE01Bytes/HTTP2-POST"},
		{name: "exempt", exemptions: "H02  reason", lines: []string{"pass TestH01"}, id: "H02", want: exempt, note: "reason"},
		{name: "exempt and passed", exemptions: "H02  reason", lines: whole(), id: "H02", want: wrong, note: "but passed"},
		{name: "any mode", exemptions: "E01  any mode: reason", lines: []string{"pass TestE01Bytes"}, id: "E01", want: passed},
		{name: "any mode and not there", exemptions: "E01  any mode: reason", lines: []string{"pass TestH01"}, id: "E01", want: missing},
		{name: "any mode and in each", exemptions: "E01  any mode: reason", lines: whole(), id: "E01", want: wrong, note: "in every mode"},
		{name: "failed", lines: strings.Split(failing, "\n"), id: "E01", want: failed, note: "tunnel.TestE01Bytes/HTTP2-POST"},
		{name: "failed though it passed elsewhere", lines: append(whole(), "fail TestE01Other it broke"), id: "E01", want: failed},
		{name: "failed outside of its cases", lines: []string{"pass TestH01H02/H01_a", "fail TestH01H02 it broke"}, id: "H02", want: failed},
		{name: "skipped", lines: []string{"skip TestH01 need: root"}, id: "H01", want: missing, note: "tunnel.TestH01: need: root"},
		{name: "a case without ids among others", lines: []string{"pass TestH01H02/H01_a", "pass TestH01H02/more"}, id: "H02", want: missing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := accountOf(t, tt.exemptions, tt.lines)
			for _, s := range a.standings {
				if s.id != tt.id {
					continue
				}
				if s.verdict != tt.want || !strings.Contains(strings.Join(s.notes, "\n"), tt.note) {
					t.Errorf("%s %s, %q", s.id, s.verdict, s.notes)
				}
				if ok := tt.want == passed || tt.want == exempt; !ok && a.good() {
					t.Error("and yet all is well")
				}
			}
		})
	}
}

func TestGood(t *testing.T) {
	if !accountOf(t, "", whole()).good() {
		t.Error("a whole run is not good")
	}
	for name, more := range map[string]string{"another test fails": "fail TestOther", "a package breaks": "fail "} {
		lines := append(whole(), more)
		if name == "a package breaks" {
			lines = append(whole(), "output TestH01 panic: no", more)
		}
		if accountOf(t, "", lines).good() {
			t.Errorf("%s, and all is well", name)
		}
	}
}

func TestGoldenAccount(t *testing.T) {
	var out strings.Builder
	accountOf(t, "E01  HTTP2-POST*: it has none, for a reason that is told at such a length that it does not fit into a line of the account\nE02  any mode: it has nothing to do with them\nH02  we have none", slices.Concat(
		inEach(eachMode, "TestE01Bytes", "HTTP2-POST", "HTTP2-POST-TLS"), []string{"pass TestE02"},
		inEach(eachPair, "TestF01Passes", "HTTP2-HTTP11"), []string{"fail TestH01 it broke"})).write(&out)
	const golden = "testdata/account.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
