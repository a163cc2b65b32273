package appliance

import (
	"reflect"
	"strings"
	"unicode"

	"culvert/netstack"
	"culvert/proxy/stats"
)

// exportStack shows every count of a stack under tun.<name>., in snake case.
// It returns what takes them back.
func (a *Appliance) exportStack(name string, s *netstack.Stack) (remove func()) {
	scope := a.stats.Scope(tunPrefix(name), tunTag(name))
	var removes []func()
	for field, read := range countsOf(reflect.TypeFor[netstack.Stats](), nil) {
		removes = append(removes, scope.GaugeFunc(field, func() int64 {
			return int64(read(reflect.ValueOf(s.Stats())).Uint())
		}))
	}
	return func() {
		for _, r := range removes {
			r()
		}
	}
}

func tunPrefix(name string) string { return "tun." + stats.Sanitize(name) + "." }

func tunTag(name string) stats.Tag { return stats.Tag{Name: "culvert_tun", Value: name} }

// countsOf lists the uint64 fields of a struct and of the structs in it, by
// their snake_case names.
func countsOf(t reflect.Type, index []int) map[string]func(reflect.Value) reflect.Value {
	out := make(map[string]func(reflect.Value) reflect.Value)
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(append([]int(nil), index...), i)
		switch f.Type.Kind() {
		case reflect.Struct:
			for name, read := range countsOf(f.Type, at) {
				out[name] = read
			}
		case reflect.Uint64:
			out[snake(f.Name)] = func(v reflect.Value) reflect.Value { return v.FieldByIndex(at) }
		}
	}
	return out
}

// snake turns ICMPWithheld into icmp_withheld.
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		upper := unicode.IsUpper(r)
		starts := i > 0 && upper && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if starts {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
