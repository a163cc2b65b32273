package main

import (
	"strings"
	"testing"
)

var few = []behaviour{
	{id: "E01", scope: eachMode}, {id: "E02", scope: eachMode}, {id: "F01", scope: eachPair}, {id: "H01", scope: once},
}

func TestExemptions(t *testing.T) {
	tests := []struct {
		name, text, wrong string // wrong: in the error; empty: none
	}{
		{"all kinds", "# Prose\n\nE01  HTTP11-POST*: a\nE01  *-TLS: b\nE01  in part: c\nE02  any mode: d\nF01  HTTP11-*: e\nH01  f: g", "exempt already"},
		{"all kinds that agree", "E01  HTTP11-POST*: a\nE01  HTTP2-POST, HTTP2-CONNECT: b\nE01  in part: c\nE02  any mode: d\nF01  HTTP11-*: e\nH01  f: g", ""},
		{"unknown id", "E03  reason", "no such behaviour"},
		{"unknown group", "X01  reason", "want an id"},
		{"one space", "E01 reason", "want an id"},
		{"no reason", "E01  ", "want an id"},
		{"unknown mode", "E01  HTTP11-PSOT: reason", "HTTP11-PSOT is none of HTTP11-CONNECT, "},
		{"one of two unknown", "E01  HTTP11-POST, HTTP3-*: reason", "HTTP3-* is none of"},
		{"misspelt", "E01  any modes: reason", "where is that"},
		{"misspelt part", "E01  in parts: reason", "where is that"},
		{"pair of a mode", "E01  HTTP11-HTTP2: reason", "is none of"},
		{"any pair of a mode", "E01  any pair: reason", "it is asked in each mode"},
		{"mode of what is asked once", "H01  any mode: reason", "asked once"},
		{"every mode", "E01  *: reason", "does not apply at all"},
		{"order", "E02  a\nE01  b", "out of order"},
		{"twice", "E01  HTTP2-*: a\nE01  HTTP2-POST: b", "HTTP2-POST is exempt already"},
		{"whole and more", "E01  a\nE01  HTTP2-*: b", "another line"},
		{"once and where", "E01  any mode: a\nE01  HTTP2-*: b", "no places"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseExemptions(tt.text, few)
			if tt.wrong == "" && err != nil || tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)) {
				t.Errorf("got %v, want %q", err, tt.wrong)
			}
		})
	}
}

func TestBehaviours(t *testing.T) {
	tests := []struct{ name, text, wrong string }{
		{"good", "# Prose E01\n\n## E: of some kind (each mode)\n\nE01  one\nE02  two\n\n## F (once)\n\nF01  three\n", ""},
		{"no scope", "## E\nE01  one", "at its end"},
		{"gap", "## E (once)\nE02  two", "E02 where E01 should be"},
		{"twice", "## E (once)\nE01  one\nE01  one", "E01 where E02 should be"},
		{"no title", "## E (once)\nE01", "want an id"},
	}
	for _, tt := range tests {
		_, err := parseBehaviours(tt.text)
		if tt.wrong == "" && err != nil || tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.wrong)
		}
	}
}
