package appliance

import (
	"strings"
	"testing"

	"culvert/configs/culvert/v1"
	"culvert/configs/field"
)

// What the kernel would refuse later is refused when it is read.
func TestTunNamesAndAddresses(t *testing.T) {
	tests := []struct {
		m          *culvertv1.Tun
		path, text string // empty: none is wrong
	}{
		{&culvertv1.Tun{}, "", ""},
		{&culvertv1.Tun{Name: "culvert0"}, "", ""},
		{&culvertv1.Tun{Name: "culvert%d"}, "", ""},
		{&culvertv1.Tun{Name: "fifteen.letters"}, "", ""},
		{&culvertv1.Tun{Name: "."}, "name", `"." is no name`},
		{&culvertv1.Tun{Name: ".."}, "name", `".." is no name`},
		{&culvertv1.Tun{Name: "tun%s"}, "name", "is no name"},
		{&culvertv1.Tun{Name: "tun%d%d"}, "name", "is no name"},
		{&culvertv1.Tun{Name: "a/b"}, "name", "is no name"},
		{&culvertv1.Tun{Name: "a:b"}, "name", "is no name"},
		{&culvertv1.Tun{Name: "a b"}, "name", "is no name"},
		{&culvertv1.Tun{Name: "sixteen.letters."}, "name", "is no name"},
		{&culvertv1.Tun{Addresses: []string{"198.18.0.1/32", "fd00::1/128"}}, "", ""},
		{&culvertv1.Tun{Addresses: []string{"198.18.0.1/32", "::ffff:198.18.0.2/128"}}, "addresses[1]", "write it as IPv4"},
		{&culvertv1.Tun{Addresses: []string{"0.0.0.0/8"}}, "addresses[0]", "0.0.0.0 is no address"},
		{&culvertv1.Tun{Addresses: []string{"::/64"}}, "addresses[0]", ":: is no address"},
		{&culvertv1.Tun{Addresses: []string{"224.0.0.1"}}, "addresses[0]", "a multicast address"},
		{&culvertv1.Tun{Addresses: []string{"ff02::1"}}, "addresses[0]", "a multicast address"},
	}
	for _, tt := range tests {
		_, err := newTunSpec(tt.m)
		all := field.All(err)
		switch {
		case tt.path == "" && err == nil:
		case tt.path == "" || len(all) != 1 || all[0].Path != tt.path || !strings.Contains(all[0].Error(), tt.text):
			t.Errorf("%v: %v, want %s: %s", tt.m, err, tt.path, tt.text)
		}
	}
}
