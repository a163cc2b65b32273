package route

import (
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"culvert/configs/field"
	"culvert/proxy/codec"
)

// DefaultTimeout is the route timeout where none is configured.
const DefaultTimeout = 15 * time.Second

// Forward is a compiled RouteAction.
type Forward struct {
	// Timeout bounds an answer, counted from the end of the request; 0 is no
	// bound. TimeoutSet tells one that was configured from the default.
	Timeout    time.Duration
	TimeoutSet bool
	// IdleTimeout replaces the connection manager's stream idle timeout where
	// IdleTimeoutSet; 0 is no bound.
	IdleTimeout    time.Duration
	IdleTimeoutSet bool
	// ClusterNotFound is the status for a cluster that is not there.
	ClusterNotFound int

	clusters      []weightedCluster
	totalWeight   uint64
	prefix        string // what prefixRewrite replaces; empty: the whole path
	prefixRewrite string
	hostRewrite   string
	upgrades      map[string]*Upgrade
}

// weightedCluster is a cluster by its name or by the request header that names it.
type weightedCluster struct {
	name, header string
	weight       uint64
	mutations    mutations
}

func (c *compiler) forward(a *routev3.RouteAction, prefix string) (*Forward, error) {
	f := &Forward{
		Timeout: DefaultTimeout, prefix: prefix,
		prefixRewrite: a.GetPrefixRewrite(), hostRewrite: a.GetHostRewriteLiteral(),
	}
	if a.Timeout != nil {
		f.Timeout, f.TimeoutSet = a.Timeout.AsDuration(), true
	}
	if a.IdleTimeout != nil {
		f.IdleTimeout, f.IdleTimeoutSet = a.IdleTimeout.AsDuration(), true
	}
	switch a.GetClusterNotFoundResponseCode() {
	case routev3.RouteAction_NOT_FOUND:
		f.ClusterNotFound = 404
	case routev3.RouteAction_INTERNAL_SERVER_ERROR:
		f.ClusterNotFound = 500
	default:
		f.ClusterNotFound = 503
	}
	clusterErr := c.forwardClusters(f, a)
	var upgradeErr error
	f.upgrades, upgradeErr = newUpgrades(a.GetUpgradeConfigs())
	return f, field.Join(clusterErr, upgradeErr)
}

func (c *compiler) forwardClusters(f *Forward, a *routev3.RouteAction) error {
	switch s := a.GetClusterSpecifier().(type) {
	case *routev3.RouteAction_Cluster:
		f.clusters, f.totalWeight = []weightedCluster{{name: s.Cluster, weight: 1}}, 1
		return field.At("cluster", c.checkCluster(s.Cluster))
	case *routev3.RouteAction_ClusterHeader:
		f.clusters, f.totalWeight = []weightedCluster{{header: s.ClusterHeader, weight: 1}}, 1
		return nil
	case *routev3.RouteAction_WeightedClusters:
		return field.At("weighted_clusters", c.weightedClusters(f, s.WeightedClusters))
	}
	return field.Errorf("", "a route action needs cluster, cluster_header or weighted_clusters")
}

func (c *compiler) weightedClusters(f *Forward, w *routev3.WeightedCluster) error {
	var errs []error
	for i, cw := range w.GetClusters() {
		at := field.Index("clusters", i)
		if (cw.GetName() == "") == (cw.GetClusterHeader() == "") {
			errs = append(errs, field.Errorf(at, "exactly one of name and cluster_header is needed"))
		}
		if cw.GetName() != "" {
			errs = append(errs, field.At(at+".name", c.checkCluster(cw.GetName())))
		}
		weight := uint64(cw.GetWeight().GetValue())
		f.totalWeight += weight
		changes, err := newMutations(cw)
		errs = append(errs, field.At(at, err))
		f.clusters = append(f.clusters, weightedCluster{cw.GetName(), cw.GetClusterHeader(), weight, changes})
	}
	switch total := w.GetTotalWeight(); { //nolint:staticcheck // deprecated in Envoy and still accepted
	case f.totalWeight == 0:
		errs = append(errs, field.Errorf("clusters", "Sum of weights in the weighted_cluster must be greater than 0."))
	case total != nil && uint64(total.Value) != f.totalWeight:
		errs = append(errs, field.Errorf("total_weight", "weights sum to %d, not to %d", f.totalWeight, total.Value))
	}
	return field.Join(errs...)
}

func (c *compiler) checkCluster(name string) error {
	if !c.validateClusters || c.deps.HasCluster(name) {
		return nil
	}
	return field.Errorf("", "route: unknown cluster '%s'", name)
}

// pick is the cluster of a request, with what its entry says.
func (f *Forward) pick(random uint64) *weightedCluster {
	at := random % f.totalWeight
	i := 0
	for ; at >= f.clusters[i].weight; i++ { // the weights sum to totalWeight
		at -= f.clusters[i].weight
	}
	return &f.clusters[i]
}

// nameFor is the cluster's name, which a header of the request may say.
func (c *weightedCluster) nameFor(req *codec.Request) string {
	if c.header != "" {
		return req.Header.Get(c.header)
	}
	return c.name
}

// Rewrite changes a request on its way to the upstream: its path and host. A
// request without a path keeps none.
func (f *Forward) Rewrite(req *codec.Request) {
	if f.prefixRewrite != "" && req.HasPath {
		req.Header.Set("x-envoy-original-path", req.Path)
		req.Path = replacePrefix(req.Path, f.prefix, f.prefixRewrite)
	}
	if f.hostRewrite != "" {
		req.Authority = f.hostRewrite
	}
}

// replacePrefix replaces prefix, or the whole path if it is empty, and keeps
// the query.
func replacePrefix(target, prefix, with string) string {
	path, rest := splitPath(target)
	if prefix == "" || len(path) < len(prefix) {
		return with + rest
	}
	return with + path[len(prefix):] + rest
}
