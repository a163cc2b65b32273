package route

import (
	"os"
	"slices"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"culvert/configs/field"
	"culvert/proxy/codec"
)

// Deps are what a table needs to know while it is compiled.
type Deps struct {
	// HasCluster tells whether a cluster of that name is configured. Routes to
	// others are errors unless validate_clusters is false; nil checks nothing.
	HasCluster func(name string) bool
	// ReadFile reads the body of a direct response; nil is os.ReadFile.
	ReadFile func(name string) ([]byte, error)
}

// Table is a compiled RouteConfiguration. It is immutable.
type Table struct {
	name       string
	ignorePort bool
	hosts      hostIndex
	mutations  mutations
	// specificLast: the most specific mutations have the last word.
	specificLast bool
}

// Decision is the route a request takes.
type Decision struct {
	Route *Route
	// VirtualHost is the name of the virtual host that matched.
	VirtualHost string
	// Cluster is the cluster picked for this request, empty where the action
	// is no forwarding or its cluster header is missing.
	Cluster string

	levels [4]mutations // in the order they apply
}

// compiler carries what the parts of one table share while it is built.
type compiler struct {
	deps             Deps
	table            string
	validateClusters bool
	maxDirectBody    int
}

// defaultMaxDirectBody is the largest body of a direct response, bytes, when
// max_direct_response_body_size_bytes is unset.
const defaultMaxDirectBody = 4096

// New compiles rc. All problems are reported at once.
func New(rc *routev3.RouteConfiguration, d Deps) (*Table, error) {
	if d.ReadFile == nil {
		d.ReadFile = os.ReadFile
	}
	c := &compiler{deps: d, table: rc.GetName(), maxDirectBody: defaultMaxDirectBody}
	c.validateClusters = d.HasCluster != nil && (rc.ValidateClusters == nil || rc.ValidateClusters.Value)
	if m := rc.GetMaxDirectResponseBodySizeBytes(); m != nil {
		c.maxDirectBody = int(m.Value)
	}
	t := &Table{
		name: rc.GetName(), ignorePort: rc.GetIgnorePortInHostMatching(),
		specificLast: rc.GetMostSpecificHeaderMutationsWins(),
	}
	t.hosts.init()
	var errs []error
	var mutationErr error
	t.mutations, mutationErr = newMutations(rc)
	errs = append(errs, mutationErr)
	for i, vh := range rc.GetVirtualHosts() {
		h, err := c.virtualHost(vh)
		errs = append(errs, field.At(field.Index("virtual_hosts", i), err))
		for j, domain := range vh.GetDomains() {
			err := t.hosts.add(domain, h, t.name)
			errs = append(errs, field.At(field.Index("virtual_hosts", i)+"."+field.Index("domains", j), err))
		}
	}
	if err := field.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// Match finds the route of req, nil if there is none. random picks among
// weighted clusters; equal numbers pick equally.
func (t *Table) Match(req *codec.Request, random uint64) *Decision {
	host := req.Authority
	if t.ignorePort {
		host = withoutPort(host)
	}
	vh := t.hosts.find(host)
	if vh == nil {
		return nil
	}
	for _, r := range vh.routes {
		if !r.match.matches(req) {
			continue
		}
		return t.decide(vh, r, req, random)
	}
	return nil
}

func (t *Table) decide(vh *virtualHost, r *Route, req *codec.Request, random uint64) *Decision {
	d := &Decision{Route: r, VirtualHost: vh.name, levels: [4]mutations{{}, r.mutations, vh.mutations, t.mutations}}
	if r.Forward != nil {
		c := r.Forward.pick(random)
		d.Cluster, d.levels[0] = c.nameFor(req), c.mutations
	}
	if t.specificLast {
		slices.Reverse(d.levels[:])
	}
	return d
}
