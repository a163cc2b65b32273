package route

import (
	"strings"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/format"
	"culvert/proxy/network"
)

// The levels apply from the most specific to the widest, or in reverse; what a
// level removes is what stood before it.
func TestMutationOrder(t *testing.T) {
	const levels = `{"name":"r",WINS
		"request_headers_to_add":[ADDtable],"response_headers_to_add":[ADDtable],
		"virtual_hosts":[{"name":"v","domains":["*"],
			"request_headers_to_add":[ADDhost],"response_headers_to_add":[ADDhost],
			"routes":[{"match":{"prefix":"/"},
				"request_headers_to_add":[ADDroute],"response_headers_to_add":[ADDroute],
				"route":{"weighted_clusters":{"clusters":[
					{"name":"a","weight":1,"request_headers_to_add":[ADDa],"response_headers_to_add":[ADDa],
						"request_headers_to_remove":["x-gone"],"response_headers_to_remove":["x-gone"]},
					{"name":"b","weight":1,"request_headers_to_add":[ADDb],"response_headers_to_add":[ADDb]}]}}}]}]}`
	for name, c := range map[string]struct {
		wins   string
		random uint64
		order  string // of the values appended
		last   string // the one that overwrites last
		gone   bool
	}{
		"widest last, a":        {"", 0, "a route host table", "table", true},
		"widest last, b":        {"", 1, "b route host table", "table", false},
		"most specific last, a": {`"most_specific_header_mutations_wins":true,`, 0, "table host route a", "a", true},
		"most specific last, b": {`"most_specific_header_mutations_wins":true,`, 1, "table host route b", "b", false},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(levels, "WINS", c.wins, 1)
			for _, level := range []string{"table", "host", "route", "a", "b"} {
				text = strings.ReplaceAll(text, "[ADD"+level+"]", `[{"header":{"key":"x-all","value":"`+level+`"}},`+
					`{"header":{"key":"x-last","value":"`+level+`"},"append_action":"OVERWRITE_IF_EXISTS_OR_ADD"}]`)
			}
			req := get("/", codec.Field{Name: "x-gone", Value: "1"})
			d := table(t, text).Match(req, c.random)
			res := codec.Fields{{Name: "x-gone", Value: "1"}}
			d.MutateRequest(&req.Header, &format.Context{Info: network.NewStreamInfo(1), Request: req})
			d.MutateResponse(&res, &format.Context{Info: network.NewStreamInfo(1), Request: req})
			for what, h := range map[string]codec.Fields{"request": req.Header, "response": res} {
				if got := strings.Join(h.Values("x-all"), " "); got != c.order {
					t.Errorf("%s: order %q, want %q", what, got, c.order)
				}
				if h.Get("x-last") != c.last || h.Has("x-gone") == c.gone {
					t.Errorf("%s: %v", what, h)
				}
			}
		})
	}
}

func TestWeightedClusterMutationsAreChecked(t *testing.T) {
	_, err := New(config(t, `{"virtual_hosts":[{"name":"v","domains":["*"],"routes":[{"match":{"prefix":"/"},"route":{"weighted_clusters":{
		"clusters":[{"name":"a","weight":1,"response_headers_to_add":[{"header":{"key":":status","value":"1"}}]}]}}}]}]}`), Deps{})
	const path = "virtual_hosts[0].routes[0].route.weighted_clusters.clusters[0].response_headers_to_add[0].header.key"
	if err == nil || !strings.HasPrefix(err.Error(), path) {
		t.Errorf("%v, want an error at %s", err, path)
	}
}
