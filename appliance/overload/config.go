package overload

import (
	"time"

	"culvert/configs/field"

	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	fixed_heapv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/fixed_heap/v3"
)

// fixedHeap is the one resource that is watched, by Envoy's name.
const fixedHeap = "envoy.resource_monitors.fixed_heap"

const (
	// defaultRefresh is Envoy's; ownRefresh is ours where nothing is configured.
	defaultRefresh = time.Second
	ownRefresh     = 100 * time.Millisecond
	// defaultWorth is the least that a flow must hold for it to be worth a
	// reset, bytes.
	defaultWorth = 32 << 10
)

// Config is what a Manager watches and what it does. The zero Config is nothing.
type Config struct {
	refresh  time.Duration
	maxHeap  uint64 // bytes; 0: no limit
	triggers [actions]trigger
	worth    int // bytes
}

// DefaultConfig is what is done where nothing is configured and a process may
// hold maxHeap bytes: buffers get smaller, who comes is told that there is no
// room, and if that is not enough, those go who hold the most.
func DefaultConfig(maxHeap uint64) Config {
	c := Config{refresh: ownRefresh, maxHeap: maxHeap, worth: defaultWorth}
	if maxHeap == 0 {
		return c
	}
	for a, at := range map[action]float64{
		shrinkHeap: 0.5, rejectConnections: 0.65, stopRequests: 0.65, resetStreams: 0.8,
	} {
		c.triggers[a] = threshold(at)
	}
	return c
}

func threshold(at float64) trigger { return trigger{on: true, begins: at, saturates: at} }

// NewConfig compiles m, whose values have been validated. Errors are relative to
// it.
func NewConfig(m *overloadv3.OverloadManager) (Config, error) {
	c := Config{refresh: defaultRefresh, worth: defaultWorth}
	if d := m.GetRefreshInterval(); d != nil {
		c.refresh = d.AsDuration()
	}
	if b := m.GetBufferFactoryConfig(); b != nil {
		c.worth = 1 << min(b.GetMinimumAccountToTrackPowerOfTwo(), 56)
	}
	var errs []error
	if c.refresh <= 0 {
		errs = append(errs, field.Errorf("refresh_interval", "must be more than 0"))
	}
	for i, r := range m.GetResourceMonitors() {
		errs = append(errs, field.At(field.Index("resource_monitors", i), c.watch(r)))
	}
	for i, a := range m.GetActions() {
		errs = append(errs, field.At(field.Index("actions", i), c.act(a)))
	}
	return c, field.Join(errs...)
}

func (c *Config) watch(r *overloadv3.ResourceMonitor) error {
	if r.GetTypedConfig() == nil {
		return field.Errorf("typed_config", "is needed")
	}
	m, err := r.GetTypedConfig().UnmarshalNew()
	if err != nil {
		return field.At("typed_config", err)
	}
	h, ok := m.(*fixed_heapv3.FixedHeapConfig)
	switch {
	case !ok:
		return nil // the checker of fields knows no other, and says so
	case r.GetName() != fixedHeap:
		return field.Errorf("name", "the resource monitor %q is not supported: only %s is", r.GetName(), fixedHeap)
	case c.maxHeap > 0:
		return field.Errorf("name", "Duplicate resource monitor %s", fixedHeap)
	case h.GetMaxHeapSizeBytes() == 0:
		return field.Errorf("typed_config.max_heap_size_bytes", "must be more than 0")
	}
	c.maxHeap = h.GetMaxHeapSizeBytes()
	return nil
}

func (c *Config) act(m *overloadv3.OverloadAction) error {
	a, ok := actionNamed(m.GetName())
	switch {
	case !ok:
		return field.Errorf("name", "the overload action %q is not supported", m.GetName())
	case c.triggers[a].on:
		return field.Errorf("name", "Duplicate overload action %s", m.GetName())
	}
	var errs []error
	for i, t := range m.GetTriggers() {
		path := field.Index("triggers", i)
		if i > 0 {
			errs = append(errs, field.Errorf(path+".name", "Duplicate trigger resource for overload action %s", a))
			continue
		}
		var err error
		c.triggers[a], err = c.newTrigger(t, a)
		errs = append(errs, field.At(path, err))
	}
	return field.Join(errs...)
}

func (c *Config) newTrigger(m *overloadv3.Trigger, a action) (trigger, error) {
	if m.GetName() != fixedHeap || c.maxHeap == 0 {
		return trigger{}, field.Errorf("name", "Unknown trigger resource %s for overload action %s", m.GetName(), a)
	}
	scaled := m.GetScaled()
	if scaled == nil {
		return threshold(m.GetThreshold().GetValue()), nil
	}
	begins, saturates := scaled.GetScalingThreshold(), scaled.GetSaturationThreshold()
	if begins >= saturates {
		return trigger{}, field.Errorf("scaled.scaling_threshold", "scaling_threshold must be less than saturation_threshold: %v, %v", begins, saturates)
	}
	return trigger{on: true, begins: begins, saturates: saturates}, nil
}

// lowest is the pressure at which something begins.
func (c *Config) lowest() float64 {
	least := 1.0
	for _, t := range c.triggers {
		if t.on {
			least = min(least, t.begins)
		}
	}
	return least
}
