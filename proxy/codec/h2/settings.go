package h2

import (
	"encoding/binary"
	"sync"

	"golang.org/x/net/http2"
)

// settingEnableConnect is SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 §3).
const settingEnableConnect = http2.SettingEnableConnectProtocol

const (
	// maxSettings bounds the settings in one frame: there are seven.
	maxSettings = 100
	// defaultHeaderTable is the HPACK table before SETTINGS, bytes.
	defaultHeaderTable = 4096
	// streamsBeforeSettings is how many streams a client opens before it knows
	// the peer's limit (RFC 9113 §6.5.2 recommends no smaller one).
	streamsBeforeSettings = 100
)

// peerSettings is what the peer lets us do. Guarded by conn.mu.
type peerSettings struct {
	maxFrame      int
	initialWindow int
	maxStreams    int
	maxHeaderList int // 0: no limit
	connect       bool
	seen          bool // its first SETTINGS has come
	acked         bool // it has acknowledged ours
	settled       sync.Cond
}

func (p *peerSettings) init(mu *sync.Mutex) {
	p.maxFrame, p.initialWindow, p.maxStreams = minMaxFrameSize, minWindow, streamsBeforeSettings
	p.settled.L = mu
}

// ownSettings is what we let the peer do.
func (c *conn) ownSettings() []http2.Setting {
	set := []http2.Setting{
		{ID: http2.SettingInitialWindowSize, Val: uint32(c.cfg.StreamWindow)},
		{ID: http2.SettingMaxFrameSize, Val: uint32(c.cfg.MaxFrameSize)},
		{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.cfg.MaxHeaderListSize)},
	}
	if c.cfg.HeaderTableSize != defaultHeaderTable {
		set = append(set, http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(c.cfg.HeaderTableSize)})
	}
	if !c.server {
		return append(set, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	}
	set = append(set, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(c.cfg.MaxConcurrentStreams)})
	if c.cfg.AllowConnect {
		set = append(set, http2.Setting{ID: settingEnableConnect, Val: 1})
	}
	return set
}

// readSettings takes a SETTINGS frame (RFC 9113 §6.5).
func (c *conn) readSettings(h frameHeader) error {
	ack := h.flags&http2.FlagSettingsAck != 0
	switch {
	case h.id != 0:
		return connError(http2.ErrCodeProtocol, "SETTINGS on a stream")
	case h.length%6 != 0, ack && h.length != 0:
		return connError(http2.ErrCodeFrameSize, "SETTINGS of a wrong size")
	case h.length > 6*maxSettings:
		return connError(http2.ErrCodeEnhanceYourCalm, "too many settings")
	}
	p, err := c.src.take(h.length)
	if err != nil {
		return err
	}
	if ack {
		c.settingsAcked()
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.peer.seen {
		c.peer.maxStreams = maxWindow // unless it says otherwise
	}
	for ; len(p) > 0; p = p[6:] {
		id, val := http2.SettingID(binary.BigEndian.Uint16(p)), binary.BigEndian.Uint32(p[2:])
		if err := c.applyLocked(id, val); err != nil {
			return err
		}
	}
	c.peer.seen = true
	c.peer.settled.Broadcast()
	c.w.pending = appendSettingsAck(c.w.pending)
	c.wakeFlusherLocked()
	return c.queueControlLocked()
}

// settingsAcked is the peer's word that it keeps to our settings.
func (c *conn) settingsAcked() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.peer.acked {
		return
	}
	c.peer.acked = true
	c.timers.settings.Stop()
	if c.cfg.HeaderTableSize < defaultHeaderTable {
		c.dec.SetAllowedMaxDynamicTableSize(uint32(c.cfg.HeaderTableSize))
	}
}

func (c *conn) applyLocked(id http2.SettingID, val uint32) error {
	switch id {
	case http2.SettingHeaderTableSize:
		c.henc.SetMaxDynamicTableSize(min(val, uint32(c.cfg.HeaderTableSize)))
	case http2.SettingEnablePush:
		if val > 1 || (!c.server && val == 1) {
			return connError(http2.ErrCodeProtocol, "bad SETTINGS_ENABLE_PUSH")
		}
	case http2.SettingMaxConcurrentStreams:
		c.peer.maxStreams = int(min(val, maxWindow))
	case http2.SettingInitialWindowSize:
		return c.initialWindowLocked(val)
	case http2.SettingMaxFrameSize:
		if val < minMaxFrameSize || val > maxMaxFrameSize {
			return connError(http2.ErrCodeProtocol, "bad SETTINGS_MAX_FRAME_SIZE")
		}
		c.peer.maxFrame = int(val)
	case http2.SettingMaxHeaderListSize:
		c.peer.maxHeaderList = int(min(max(val, 1), maxWindow))
	case settingEnableConnect:
		if val > 1 || (val == 0 && c.peer.connect) {
			return connError(http2.ErrCodeProtocol, "bad SETTINGS_ENABLE_CONNECT_PROTOCOL")
		}
		c.peer.connect = val == 1
	}
	return nil // an unknown setting is ignored
}

// initialWindowLocked changes the send window of every stream by the
// difference; it may become negative (RFC 9113 §6.9.2).
func (c *conn) initialWindowLocked(val uint32) error {
	if val > maxWindow {
		return connError(http2.ErrCodeFlowControl, "bad SETTINGS_INITIAL_WINDOW_SIZE")
	}
	delta := int(val) - c.peer.initialWindow
	c.peer.initialWindow = int(val)
	for _, st := range c.streams {
		if st.sendWindow+delta > maxWindow {
			return connError(http2.ErrCodeFlowControl, "a stream window overflows by SETTINGS")
		}
		st.sendWindow += delta
		if delta > 0 {
			st.writable.Broadcast()
		}
	}
	return nil
}
