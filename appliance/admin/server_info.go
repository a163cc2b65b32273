package admin

import (
	"net/http"
	"runtime"
	"runtime/metrics"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Process is what was true before there was a configuration.
type Process struct {
	Version    string
	Began      time.Time
	ConfigPath string
	DrainTime  time.Duration
}

func serverInfoPage(d Deps) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		p := d.Process
		config, _ := d.Config()
		up := durationpb.New(time.Since(p.Began).Truncate(time.Second))
		info := &adminv3.ServerInfo{
			Version: p.Version, State: stateOf(d.State()), HotRestartVersion: "disabled",
			UptimeCurrentEpoch: up, UptimeAllEpochs: up, Node: config.GetNode(),
			// --config-yaml is not shown: it may hold secrets, and /config_dump has
			// it without them.
			CommandLineOptions: &adminv3.CommandLineOptions{
				Concurrency: uint32(runtime.GOMAXPROCS(0)), ConfigPath: p.ConfigPath, DrainTime: durationpb.New(p.DrainTime),
				DisableHotRestart: true,
			},
		}
		if d.Level != nil {
			info.CommandLineOptions.LogLevel = levelName(d.Level.Level())
		}
		writeProto(w, info)
	}
}

func stateOf(name string) adminv3.ServerInfo_State {
	if name == "INITIALIZING" {
		return adminv3.ServerInfo_INITIALIZING
	}
	return adminv3.ServerInfo_State(adminv3.ServerInfo_State_value[name])
}

// memoryPage tells Envoy's numbers by the nearest that the Go runtime has.
func memoryPage(w http.ResponseWriter, _ *http.Request) {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/metadata/mcache/inuse:bytes"},
	}
	metrics.Read(samples)
	value := func(i int) uint64 { return samples[i].Value.Uint64() }
	writeProto(w, &adminv3.Memory{
		Allocated: value(0), HeapSize: value(1), PageheapUnmapped: value(2), PageheapFree: value(3),
		TotalThreadCache: value(4), TotalPhysicalBytes: value(1) - value(2),
	})
}
