package main

import "testing"

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
