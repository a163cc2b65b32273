package main

import (
	"slices"
	"testing"
)

func TestIDsOfNames(t *testing.T) {
	tests := []struct {
		name   string
		want   string // joined by blanks
		ofCase bool
	}{
		{"TestG02FB01EarlyBytesWait", "G02 FB01", false},
		{"TestFB25ConnectionsDie", "FB25", false},
		{"TestM09FB29Refused", "M09 FB29", false},
		{"TestE2E", "", false},
		{"TestH2Client", "", false},
		{"TestRefusals/G03_503", "G03", true},
		{"TestG03G04Refusals/G04_FB07_connection_closed/HTTP2-POST", "G04 FB07", true},
		{"TestG03G04Refusals/G04_FB07#01", "G04 FB07", true},
		{"TestG23Leaves/CVE-2021-43826_FB11_leaves", "FB11", true},
		{"TestN05/N05,_N06:_drain", "N05 N06", true},
		{"TestG03Refusals/407/HTTP2-POST", "G03", false},
		{"TestG18/HTTP2-POST/G18_yes", "G18", true},
		{"TestG18/off_G19", "G18", false},
		{"TestG18/G1", "G18", false},
	}
	for _, tt := range tests {
		got, ofCase := idsOf(tt.name)
		if joined(got) != tt.want || ofCase != tt.ofCase {
			t.Errorf("%s: %q, of a case %v", tt.name, joined(got), ofCase)
		}
	}
}

func joined(ids []string) (all string) {
	for i, id := range ids {
		if i > 0 {
			all += " "
		}
		all += id
	}
	return all
}

func TestPlaces(t *testing.T) {
	modes, pairs := eachMode.places(), eachPair.places()
	if len(modes) != 8 || !slices.Contains(modes, "HTTP11-POST-TLS") {
		t.Errorf("modes %v", modes)
	}
	if want := []string{"HTTP11-HTTP11", "HTTP11-HTTP2", "HTTP2-HTTP11", "HTTP2-HTTP2"}; !slices.Equal(pairs, want) {
		t.Errorf("pairs %v", pairs)
	}
	for name, want := range map[string]string{
		"TestG01/HTTP2-POST-TLS":       "HTTP2-POST-TLS",
		"TestG01/HTTP2-POST/G01_yes":   "HTTP2-POST",
		"TestG01/G01_yes/HTTP2-POST":   "HTTP2-POST",
		"TestG01/HTTP2-POST_and_more":  "",
		"TestG01":                      "",
		"TestHTTP2-POST/HTTP2-HTTP2":   "",
		"TestF01/HTTP11-HTTP2/raw#01/": "",
	} {
		if got := placeOf(name, modes); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
