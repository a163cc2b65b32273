package main

import (
	"slices"
	"strings"
	"testing"
)

// lists are the two reviewed ones.
func lists(t *testing.T) ([]behaviour, map[string][]exemption) {
	t.Helper()
	list, err := parseBehaviours(behavioursText)
	if err != nil {
		t.Fatalf("behaviours.md: %v", err)
	}
	exemptions, err := parseExemptions(exemptionsText, list)
	if err != nil {
		t.Errorf("not_applicable.md: %v", err)
	}
	return list, exemptions
}

func TestGroupsAreWhole(t *testing.T) {
	list, _ := lists(t)
	got := map[string]int{}
	for _, b := range list {
		got[b.group()]++
	}
	for group, want := range map[string]int{"E": 25, "F": 9, "G": 38, "H": 30, "K": 16, "L": 8, "N": 10, "FB": 42} {
		if got[group] != want {
			t.Errorf("group %s has %d behaviours, want %d", group, got[group], want)
		}
	}
}

// Every behaviour is in the name of a test or of a case, or does not apply. What
// passes, and in which modes, only a run can say.
func TestEveryBehaviourIsAccountedFor(t *testing.T) {
	list, exemptions := lists(t)
	sources, err := readSources("../..", list)
	if err != nil {
		t.Fatal(err)
	}
	var without []string
	for _, b := range list {
		whole := slices.ContainsFunc(exemptions[b.id], exemption.whole)
		if !whole && !sources.ids[b.id] {
			without = append(without, b.id)
		}
	}
	if without != nil {
		t.Errorf("%s: neither a test nor a reason", strings.Join(without, " "))
	}
}
