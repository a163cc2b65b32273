package tcpproxy

import (
	"time"

	"culvert/configs/field"
	"culvert/proxy/accesslog"
	"culvert/proxy/format"
	"culvert/proxy/network"

	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
)

// logOptions say which records a flow has besides the one at its end.
type logOptions struct {
	onStart, onConnected bool
	interval             time.Duration // 0: none
}

func newLogOptions(m *tcpproxyv3.TcpProxy) (logOptions, error) {
	o := m.GetAccessLogOptions()
	if o == nil {
		return logOptions{
			onConnected: m.GetFlushAccessLogOnConnected(),
			interval:    m.GetAccessLogFlushInterval().AsDuration(),
		}, nil
	}
	if m.GetFlushAccessLogOnConnected() {
		return logOptions{}, field.Errorf("flush_access_log_on_connected", "Only one of flush_access_log_on_connected or access_log_options can be specified.")
	}
	if m.GetAccessLogFlushInterval() != nil {
		return logOptions{}, field.Errorf("access_log_flush_interval", "Only one of access_log_flush_interval or access_log_options can be specified.")
	}
	return logOptions{
		onStart: o.GetFlushAccessLogOnStart(), onConnected: o.GetFlushAccessLogOnConnected(),
		interval: o.GetAccessLogFlushInterval().AsDuration(),
	}, nil
}

func (p *TCPProxy) record(info *network.StreamInfo, logType string) {
	p.log.Log(&format.Context{Info: info, LogType: logType})
}

// logPeriodically writes a record each interval until done is closed. It only
// reads: info is immutable while the relay runs, but for its meter.
func (p *TCPProxy) logPeriodically(info *network.StreamInfo, done <-chan struct{}) {
	t := time.NewTicker(p.logOptions.interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			p.record(info, accesslog.TcpPeriodic)
		case <-done:
			return
		}
	}
}
