package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// named is what the test files say in names.
type named struct {
	// packages are the directories with tests to run, "./proxy/hcm"; sorted.
	packages []string
	// tests are the functions to run; sorted.
	tests []string
	// ids are those in names of tests and of cases.
	ids map[string]bool
}

// readSources finds the tests with ids of the behaviours below root: those that
// are called by them, and all of a file whose cases are.
func readSources(root string, list []behaviour) (*named, error) {
	known := map[string]bool{}
	for _, b := range list {
		known[b.id] = true
	}
	packages, tests := map[string]bool{}, map[string]bool{}
	n := &named{ids: map[string]bool{}}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasSuffix(filepath.ToSlash(path), "test/conformance") {
			return filepath.SkipDir // its tests speak of ids, and show no behaviour
		}
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("read the names of tests: %w", err)
		}
		for _, test := range n.read(file, known) {
			dir, err := filepath.Rel(root, filepath.Dir(path))
			if err != nil {
				return err
			}
			packages["./"+filepath.ToSlash(dir)], tests[test] = true, true
		}
		return nil
	})
	n.packages, n.tests = slices.Sorted(maps.Keys(packages)), slices.Sorted(maps.Keys(tests))
	return n, err
}

// read takes the ids of a file, and returns its tests to run.
func (n *named) read(file *ast.File, known map[string]bool) []string {
	take := func(ids []string) (any bool) {
		for _, id := range ids {
			any = any || known[id]
			n.ids[id] = true
		}
		return any
	}
	cases := false
	ast.Inspect(file, func(node ast.Node) bool {
		if lit, ok := node.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				cases = take(idsOfCase(text)) || cases
			}
		}
		return true
	})
	var run []string
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") && f.Name.Name != "TestMain" {
			if take(idsOfTest(f.Name.Name)) || cases {
				run = append(run, f.Name.Name)
			}
		}
	}
	return run
}

// regexp is what `go test -run` selects the tests by.
func (n *named) regexp() string {
	quoted := make([]string, len(n.tests))
	for i, t := range n.tests {
		quoted[i] = regexp.QuoteMeta(t)
	}
	return "^(" + strings.Join(quoted, "|") + ")$"
}
