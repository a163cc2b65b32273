package main

import (
	"regexp"
	"strings"
)

var (
	oneID   = regexp.MustCompile(`[A-N]\d\d|FB\d\d`)
	inName  = regexp.MustCompile(`^Test((?:FB\d\d|[A-N]\d\d)+)`)
	inCase  = regexp.MustCompile(`^(?:FB\d\d|[A-N]\d\d)$`)
	another = regexp.MustCompile(`^CVE-[\d-]+$`) // may stand among the ids
	// sameName is what the testing package adds to a case whose name is taken.
	sameName = regexp.MustCompile(`#\d+$`)
)

// idsOfTest are the ids in the name of a test function.
func idsOfTest(name string) []string {
	m := inName.FindStringSubmatch(name)
	if m == nil {
		return nil
	}
	return oneID.FindAllString(m[1], -1)
}

// idsOfCase are the ids that open a case's name, as it is written or as the
// testing package rewrites it.
func idsOfCase(name string) []string {
	var ids []string
	words := strings.FieldsFunc(sameName.ReplaceAllString(name, ""), func(r rune) bool { return r == '_' || r == ' ' })
	for _, word := range words {
		word = strings.TrimRight(word, ",:")
		if another.MatchString(word) {
			continue
		}
		if !inCase.MatchString(word) {
			break
		}
		ids = append(ids, word)
	}
	return ids
}

// idsOf are the ids of the innermost part of a test's full name that has any,
// and whether that is a case.
func idsOf(full string) (ids []string, ofCase bool) {
	parts := strings.Split(full, "/")
	for i := len(parts) - 1; i > 0; i-- {
		if ids := idsOfCase(parts[i]); ids != nil {
			return ids, true
		}
	}
	return idsOfTest(parts[0]), false
}

// placeOf is the mode or pair that a test's full name has; "" without one.
func placeOf(full string, places []string) string {
	for _, part := range strings.Split(full, "/")[1:] {
		for _, p := range places {
			if part == p {
				return p
			}
		}
	}
	return ""
}
