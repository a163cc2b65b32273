package appliance

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// stop is a line of the life of a flow: a file, and what to read in it.
var stop = regexp.MustCompile(`^//\t(\S+\.go): (.+)$`)

// The life of a flow leads somewhere: each file it names exists, and each
// function and type is declared in it.
func TestDocNamesWhatIsThere(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	stops := 0
	for i, line := range strings.Split(string(text), "\n") {
		m := stop.FindStringSubmatch(line)
		if m == nil {
			if strings.Contains(line, ".go") {
				t.Errorf("doc.go:%d: a file is named outside a stop", i+1)
			}
			continue
		}
		stops++
		for _, missing := range missing(m[1], strings.Split(m[2], ", ")) {
			t.Errorf("doc.go:%d: %s", i+1, missing)
		}
	}
	if stops < 40 {
		t.Errorf("only %d stops found: the test looks for the wrong lines", stops)
	}
}

// The check must be able to fail.
func TestDocCheckCatches(t *testing.T) {
	for _, tt := range []struct{ file, name string }{
		{"appliance/nowhere.go", "build"}, {"appliance/build.go", "bild"}, {"appliance/build.go", "builder.build"}, {"appliance/build.go", "Run"},
	} {
		if len(missing(tt.file, []string{tt.name})) == 0 {
			t.Errorf("%s in %s is not missed", tt.name, tt.file)
		}
	}
	if got := missing("appliance/build.go", []string{"builder", "Appliance.build", "found"}); len(got) > 0 {
		t.Error(got)
	}
}

// missing lists what is not declared in a file of the module.
func missing(path string, names []string) []string {
	f, err := parser.ParseFile(token.NewFileSet(), "../"+path, nil, parser.SkipObjectResolution)
	if err != nil {
		return []string{err.Error()}
	}
	declared := declarations(f)
	var out []string
	for _, name := range names {
		if !slices.Contains(declared, name) {
			out = append(out, fmt.Sprintf("%s does not declare %s", path, name))
		}
	}
	return out
}

// declarations are the functions, methods (as Type.Method) and types of a file.
func declarations(f *ast.File) []string {
	var out []string
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			out = append(out, receiver(d)+d.Name.Name)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if s, ok := s.(*ast.TypeSpec); ok {
					out = append(out, s.Name.Name)
				}
			}
		}
	}
	return out
}

// receiver is "Type." of a method.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	t := d.Recv.List[0].Type
	if p, ok := t.(*ast.StarExpr); ok {
		t = p.X
	}
	if name, ok := t.(*ast.Ident); ok {
		return name.Name + "."
	}
	return ""
}
