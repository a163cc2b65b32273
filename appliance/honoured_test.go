package appliance

import (
	"os"
	"testing"

	"culvert/configs"
	"culvert/configs/configstest"

	"github.com/google/go-cmp/cmp"
)

// Each field of each message that some constructor reads, set alone: refused
// unless it is declared. A declared name that is no message or field fails too.
func TestHonouredFields(t *testing.T) { configstest.RefusesUndeclared(t, Honoured()) }

// fieldsPage is made from Honoured; go test ./appliance -run FieldsPage -update
// writes it anew.
const fieldsPage = "../docs/configuration-fields.md"

const fieldsHead = `# Configuration fields

What culvert does with each field of each message it reads. A field that is a
load error is refused with its path and line when it is set, so that nothing of
a configuration is ignored in silence; so is every message that is not here.
This page is generated: ` + "`go test ./appliance -run FieldsPage -update`" + `.

`

func TestFieldsPage(t *testing.T) {
	table, err := configs.FieldTable(Honoured())
	if err != nil {
		t.Fatal(err)
	}
	want := fieldsHead + table
	if *update {
		if err := os.WriteFile(fieldsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(fieldsPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("%s is not what the code honours (-page +code):\n%s", fieldsPage, diff)
	}
}
