package configs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
)

// Source says where a configuration comes from. At least one field is set.
type Source struct {
	// Path is a file: JSON if its name ends in .json, else YAML, of which JSON
	// is a part.
	Path string
	// YAML is merged over the file: messages field by field, lists appended,
	// everything else replaced.
	YAML string
}

// overrideName is what Source.YAML is called in problems.
const overrideName = "--config-yaml"

// Document is a configuration that was read and validated.
type Document struct {
	// Bootstrap is the configuration. Its owner may hand it out, and nobody
	// changes it.
	Bootstrap *bootstrapv3.Bootstrap
	// Warnings are what was accepted and will not be for ever: deprecated
	// fields, optional extensions that do not exist.
	Warnings []Problem

	root *place // nil if it came from no file
}

// New is the Document of a configuration made by a program. The error lists the
// rules of the protos that it breaks.
func New(b *bootstrapv3.Bootstrap) (*Document, error) {
	d := &Document{Bootstrap: b}
	var errs Errors
	for _, p := range d.Problems(Validate(b)) {
		errs.add(p)
	}
	return d, errs.orNil()
}

// Load reads and validates a configuration. The error is an *Errors with
// everything that is wrong, or says that the file cannot be read.
func Load(src Source) (*Document, error) {
	if src.Path == "" && src.YAML == "" {
		return nil, errors.New("no configuration: neither a file nor YAML is given")
	}
	l := newLoader(src.Path)
	if src.Path != "" {
		text, err := readBounded(src.Path)
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		l.read(src.Path, text)
	}
	if src.YAML != "" {
		l.read(overrideName, []byte(src.YAML))
	}
	return l.finish()
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxDocument+1))
}

// loader collects what the steps find.
type loader struct {
	doc  *Document
	dec  decoder
	errs Errors
	// unread is set when a text could not even be parsed: what is missing then
	// is no news.
	unread bool
}

func newLoader(file string) *loader {
	return &loader{doc: &Document{Bootstrap: &bootstrapv3.Bootstrap{}, root: newRoot(file)}}
}

// finish validates what was read.
func (l *loader) finish() (*Document, error) {
	l.validate()
	if err := l.errs.orNil(); err != nil {
		return nil, err
	}
	l.doc.Warnings = l.dec.warnings.Problems
	return l.doc, nil
}

// read merges one text into the bootstrap.
func (l *loader) read(file string, text []byte) {
	if len(text) > maxDocument {
		l.errs.add(Problem{File: file, Message: fmt.Sprintf("larger than %d MiB", maxDocument>>20)})
		l.unread = true
		return
	}
	if !utf8.Valid(text) {
		l.errs.add(Problem{File: file, Line: badLine(text), Message: "not UTF-8"})
		l.unread = true
		return
	}
	parse := parseYAML
	if strings.EqualFold(filepath.Ext(file), ".json") {
		parse = parseJSON
	}
	n, errs := parse(file, text)
	l.take(errs)
	if n == nil {
		l.unread = true
		return
	}
	l.dec.document(n, l.doc.Bootstrap, l.doc.root)
	l.take(&l.dec.errs)
}

// take moves problems over.
func (l *loader) take(from *Errors) {
	for _, p := range from.Problems {
		l.errs.add(p)
	}
	l.errs.More += from.More
	*from = Errors{}
}

// validate adds the rules that are broken, but for places where something could
// not be read: a rule is then broken for that reason.
func (l *loader) validate() {
	if l.unread {
		return
	}
	for _, p := range l.doc.Problems(Validate(l.doc.Bootstrap)) {
		if !l.excused(p.Path) {
			l.errs.add(p)
		}
	}
}

// excused reports whether reading failed at path or in the message around it.
func (l *loader) excused(path string) bool {
	at := l.doc.root.find(path)
	return l.dec.broken[at]
}

// badLine is the line of the first byte that is not UTF-8.
func badLine(text []byte) int {
	line := 1
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 {
			return line
		}
		if r == '\n' {
			line++
		}
		text = text[size:]
	}
	return line
}
