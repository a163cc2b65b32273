package admin

import (
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"culvert/proxy/network"
)

// FlowSource is the flow table.
type FlowSource interface {
	Live() []*network.StreamInfo
	Ended() []*network.StreamInfo
}

// FlowStatus is one flow of /flows: what captured it, what matched, what
// carries it, how long each step took, how it ended.
type FlowStatus struct {
	ID          uint64 `json:"id"`
	Parent      uint64 `json:"parent,omitempty"`
	Kind        string `json:"kind"`  // flow, connection, exchange
	State       string `json:"state"` // pending, open, ended
	Listener    string `json:"listener,omitempty"`
	FilterChain string `json:"filter_chain,omitempty"`
	Route       string `json:"route,omitempty"`
	Source      string `json:"source"`
	Destination string `json:"destination"`
	Cluster     string `json:"cluster,omitempty"`
	Upstream    string `json:"upstream,omitempty"`
	Connection  uint64 `json:"upstream_connection,omitempty"`
	Stream      uint64 `json:"upstream_stream,omitempty"`
	Protocol    string `json:"upstream_protocol,omitempty"`
	Verdict     string `json:"verdict,omitempty"`
	// AcceptedEarly: the application was told yes before the far end was reached.
	AcceptedEarly bool    `json:"accepted_early,omitempty"`
	Received      uint64  `json:"bytes_received"`
	Sent          uint64  `json:"bytes_sent"`
	AgeSeconds    float64 `json:"age_seconds"`
	IdleSeconds   float64 `json:"idle_seconds"`
	Code          int     `json:"response_code,omitempty"`
	Flags         string  `json:"response_flags"`
	Details       string  `json:"details,omitempty"`
	Cause         string  `json:"cause,omitempty"`
	// Steps are milliseconds from the flow's start.
	Steps []StepStatus `json:"steps,omitempty"`
}

// StepStatus is when a flow passed a step.
type StepStatus struct {
	Name string  `json:"name"`
	MS   float64 `json:"ms"`
}

func flowsPage(d Deps) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		flows := statuses(d.Flows)
		if r.URL.Query().Get("format") == "json" {
			writeJSON(w, map[string]any{"flows": flows})
			return
		}
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "ID\tKIND\tSTATE\tAGE\tSOURCE\tDESTINATION\tCLUSTER\tVIA\tVERDICT\tRECEIVED\tSENT\tFLAGS\tCAUSE")
		for _, f := range flows {
			fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", f.ID, f.Kind, f.State,
				time.Duration(f.AgeSeconds*float64(time.Second)).Round(time.Millisecond),
				f.Source, cell(f.Destination), cell(f.Cluster), cell(f.via()), cell(f.told()),
				f.Received, f.Sent, f.Flags, cell(f.Cause))
		}
		_ = tw.Flush()
	}
}

// statuses lists the ended flows, then the live ones.
func statuses(src FlowSource) []FlowStatus {
	now := time.Now()
	out := []FlowStatus{}
	for _, info := range src.Ended() {
		out = append(out, status(info, "ended", now))
	}
	for _, info := range src.Live() {
		state := "pending"
		if info.Snapshot().Verdict != "" {
			state = "open"
		}
		out = append(out, status(info, state, now))
	}
	return out
}

func status(info *network.StreamInfo, state string, now time.Time) FlowStatus {
	s := info.Snapshot()
	f := FlowStatus{
		ID: s.ID, Parent: s.ParentID, Kind: s.Kind.String(), State: state, AcceptedEarly: s.AcceptedEarly,
		Listener: s.Listener, FilterChain: s.FilterChain, Route: s.Route,
		Source: s.RemoteAddress.String(), Destination: s.LocalAddress.String(),
		Cluster: s.Cluster, Verdict: s.Verdict,
		Received: info.Meter.BytesReceived(), Sent: info.Meter.BytesSent(),
		AgeSeconds: now.Sub(s.Start).Seconds(), IdleSeconds: info.Meter.Idle().Seconds(),
		Code: s.ResponseCode, Flags: s.Flags.String(), Details: s.Details, Cause: s.Cause,
	}
	if s.Destination != "" {
		f.Destination = s.Destination
	}
	if u := info.Upstream(); u != nil {
		f.Upstream, f.Connection, f.Stream, f.Protocol = u.Host.String(), u.ConnectionID, u.StreamID, u.Protocol
	}
	for _, step := range s.Steps {
		f.Steps = append(f.Steps, StepStatus{step.Name, float64(step.After.Microseconds()) / 1000})
	}
	if state == "ended" && len(s.Steps) > 0 {
		f.AgeSeconds = s.Steps[len(s.Steps)-1].After.Seconds()
		f.IdleSeconds = 0
	}
	return f
}

// told is the verdict, and whether it came before the far end was reached.
func (f FlowStatus) told() string {
	if f.AcceptedEarly && f.Verdict != "" {
		return f.Verdict + " early"
	}
	return f.Verdict
}

// via is the connection and stream that carry the flow: h2 #12/5 to an address.
func (f FlowStatus) via() string {
	if f.Upstream == "" {
		return "-"
	}
	if f.Stream == 0 {
		return f.Upstream
	}
	return fmt.Sprintf("%s #%d/%d", f.Upstream, f.Connection, f.Stream)
}

// cell is a text for a column, "-" for none.
func cell(s string) string {
	if s == "" {
		return "-"
	}
	return clean(s)
}

// clean is s on one line. Names and causes hold strangers' bytes: none of them
// may break a table or steer the terminal it is shown on.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}
