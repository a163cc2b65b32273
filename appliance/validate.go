package appliance

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"

	"culvert/configs"
	"culvert/proxy/accesslog"
)

// problemsError is a configuration that cannot be used, with every reason.
type problemsError struct{ problems []configs.Problem }

func (e *problemsError) Error() string {
	msg := "the configuration cannot be used:"
	for _, p := range e.problems {
		msg += "\n  " + p.String()
	}
	return msg
}

// problemList dates each error to its place in the document; doc is nil if
// there is none.
func problemList(doc *configs.Document, err error) error {
	var list *configs.Errors
	switch {
	case doc != nil:
		return &problemsError{inOrder(doc.Problems(err))}
	case errors.As(err, &list):
		return &problemsError{doc.Problems(list)}
	}
	return err
}

// inOrder sorts problems by their lines. What two have noticed, the loader and
// a constructor, is told once.
func inOrder(problems []configs.Problem) []configs.Problem {
	type notice struct {
		file    string
		line    int
		message string
	}
	seen := make(map[notice]bool)
	problems = slices.DeleteFunc(slices.Clone(problems), func(p configs.Problem) bool {
		n := notice{p.File, p.Line, p.Message}
		twice := p.Line > 0 && seen[n]
		seen[n] = true
		return twice
	})
	slices.SortStableFunc(problems, func(a, b configs.Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return problems
}

// Validate builds the configuration without opening anything, and returns what
// is worth a warning and what is wrong.
func Validate(src configs.Source) (warnings, problems []configs.Problem) {
	doc, err := configs.Load(src)
	if err != nil {
		return nil, asProblems(problemList(nil, err))
	}
	warnings = append(doc.Warnings, doc.Lint()...)
	a := newAppliance(src, Options{Log: slog.New(slog.DiscardHandler)}, accesslog.DiscardSinks())
	defer a.sinks.Close()
	defer a.retireStop()
	g, err := a.build(doc)
	if err != nil {
		return warnings, asProblems(problemList(doc, err))
	}
	g.abort(nil)
	return warnings, nil
}

func asProblems(err error) []configs.Problem {
	var p *problemsError
	if errors.As(err, &p) {
		return p.problems
	}
	return []configs.Problem{{Message: err.Error()}}
}
