package codec_test

import (
	"testing"

	"culvert/proxy/codec"

	"github.com/google/go-cmp/cmp"
)

func TestFieldsKeepOrderAndIgnoreCase(t *testing.T) {
	f := codec.Fields{{"A", "1"}, {"b", "2"}, {"a", "3"}}
	if got := f.Get("a"); got != "1" {
		t.Errorf("Get = %q, want the first line", got)
	}
	if got := f.Values("A"); !cmp.Equal(got, []string{"1", "3"}) {
		t.Errorf("Values = %q", got)
	}
	if f.Has("c") || !f.Has("B") {
		t.Error("Has is wrong about c or B")
	}
	before := f.Clone()
	f.Set("a", "4")
	if want := (codec.Fields{{"A", "4"}, {"b", "2"}}); !cmp.Equal(f, want) {
		t.Errorf("after Set: %v, want %v", f, want)
	}
	f.Set("c", "5")
	f.Del("B")
	f.Add("a", "6")
	if want := (codec.Fields{{"A", "4"}, {"c", "5"}, {"a", "6"}}); !cmp.Equal(f, want) {
		t.Errorf("at the end: %v, want %v", f, want)
	}
	if want := (codec.Fields{{"A", "1"}, {"b", "2"}, {"a", "3"}}); !cmp.Equal(before, want) {
		t.Errorf("the clone changed: %v", before)
	}
}

func TestValidNamesAndValues(t *testing.T) {
	for _, s := range []string{"a", "X-Y", "!#$%&'*+-.^_`|~09"} {
		if !codec.ValidName(s) {
			t.Errorf("name %q refused", s)
		}
	}
	for _, s := range []string{"", "a b", "a:", "a\r", "\x00", "é", "a\n"} {
		if codec.ValidName(s) {
			t.Errorf("name %q taken", s)
		}
	}
	for _, s := range []string{"", "a", "a b\tc", "é", "\"x\""} {
		if !codec.ValidValue(s) {
			t.Errorf("value %q refused", s)
		}
	}
	for _, s := range []string{" a", "a ", "\ta", "a\r\nb", "a\x00", "a\x7f", "\x01"} {
		if codec.ValidValue(s) {
			t.Errorf("value %q taken", s)
		}
	}
}
