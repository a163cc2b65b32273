package conformance

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// groups are the parts of the list that are accounted for: how many behaviours
// each has.
var groups = []struct {
	letter string
	last   int
}{{"G", 38}, {"H", 30}}

var (
	line   = regexp.MustCompile(`^([A-N]\d\d)  \S.*$`)
	inName = regexp.MustCompile(`(?m)^func Test((?:[A-N]\d\d)+)`)
	id     = regexp.MustCompile(`[A-N]\d\d`)
	// inText is a comment or a case's name that begins with ids.
	inText = regexp.MustCompile(`(?m)(?:^\s*// |")((?:(?:[A-N]\d\d|D \d+|CVE-[\d-]+)(?:, | and )?)+)`)
)

// notApplicable is the reviewed list, id to reason.
func notApplicable(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("not_applicable.md")
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	before := ""
	for _, l := range strings.Split(string(text), "\n") {
		m := line.FindStringSubmatch(l)
		if m == nil {
			if id.MatchString(strings.SplitN(l, " ", 2)[0]) {
				t.Errorf("%q: want an id, two spaces, a reason", l)
			}
			continue
		}
		if m[1] <= before {
			t.Errorf("%s is behind %s", m[1], before)
		}
		before = m[1]
		list[m[1]] = l[5:]
	}
	return list
}

// tested are the ids that tests go by: in their names, in the names of their
// cases, or at the beginning of what is said about them.
func tested(t *testing.T) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, re := range []*regexp.Regexp{inName, inText} {
			for _, m := range re.FindAllStringSubmatch(string(text), -1) {
				for _, found := range id.FindAllString(m[1], -1) {
					ids[found] = true
				}
			}
		}
		return err
	})
	if err != nil || len(ids) < 50 {
		t.Fatalf("%d ids found: %v", len(ids), err)
	}
	return ids
}

// Every behaviour is tested, or does not apply, in whole or in part.
func TestEveryBehaviourIsAccountedFor(t *testing.T) {
	not, by := notApplicable(t), tested(t)
	for _, g := range groups {
		for n := 1; n <= g.last; n++ {
			id := fmt.Sprintf("%s%02d", g.letter, n)
			if !by[id] && not[id] == "" {
				t.Errorf("%s has neither a test nor a reason", id)
			}
		}
	}
}
