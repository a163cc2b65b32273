package proxyprotocol

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"culvert/proxy/network"

	proxyproto "github.com/pires/go-proxyproto"
)

// Bounds of a header, bytes. The one of version 1 is the specification's
// (§2.1); one of version 2 may claim 64 KiB, and 4 KiB hold the largest TLV
// that is in use, a client's certificate.
const (
	maxV1     = 107
	maxV2     = fixedV2 + 4096
	fixedV2   = 16 // signature, command, family, length
	addressV4 = 12
	addressV6 = 36
)

// Version is a version of the protocol; 0 is none.
type Version uint8

// The versions.
const (
	V1 Version = 1
	V2 Version = 2
)

func (v Version) String() string { return fmt.Sprintf("v%d", uint8(v)) }

func (v Version) signature() []byte {
	if v == V1 {
		return append(bytes.Clone(proxyproto.SIGV1), ' ')
	}
	return proxyproto.SIGV2
}

// Detect says which of the versions, if any, bytes begin with. It is not
// decided while they are a part of a signature only.
func Detect(b []byte, among ...Version) (v Version, decided bool) {
	decided = true
	for _, v := range among {
		sig := v.signature()
		switch n := min(len(b), len(sig)); {
		case !bytes.Equal(b[:n], sig[:n]):
		case n == len(sig):
			return v, true
		default:
			decided = false
		}
	}
	return 0, decided
}

// Header is one that came.
type Header struct {
	Version Version
	// Local: the header says nothing, the connection's own ends are its ends
	// (LOCAL, UNKNOWN). The other fields are then unset.
	Local               bool
	Source, Destination network.Address
	TLVs                []TLV
}

// ErrIncomplete is a header of which bytes are missing.
var ErrIncomplete = errors.New("PROXY header is not complete")

// Parse reads a header of version v, whose signature b begins with. It returns
// the header and its length in bytes; with ErrIncomplete the length that b must
// have at least for another try. Any other error is final, and our own text,
// not the peer's.
func Parse(b []byte, v Version) (*Header, int, error) {
	length, err := headerLength(b, v)
	if err != nil {
		return nil, length, err
	}
	raw, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b[:length]), length))
	if err != nil {
		return nil, 0, malformed(v, errors.New("is malformed"))
	}
	h := &Header{Version: v, Local: raw.Command == proxyproto.LOCAL}
	if h.Local {
		return h, length, nil
	}
	if err := h.fill(raw, b[:length]); err != nil {
		return nil, 0, malformed(v, err)
	}
	return h, length, nil
}

func malformed(v Version, err error) error { return fmt.Errorf("PROXY header of %s: %w", v, err) }

// headerLength is the whole length of the header that begins b.
func headerLength(b []byte, v Version) (int, error) {
	if v == V1 {
		end := bytes.IndexByte(b[:min(len(b), maxV1)], '\n')
		switch {
		case end >= 0:
			return end + 1, nil
		case len(b) >= maxV1:
			return 0, malformed(v, fmt.Errorf("has no end within %d bytes", maxV1))
		}
		return len(b) + 1, ErrIncomplete
	}
	if len(b) < fixedV2 {
		return fixedV2, ErrIncomplete
	}
	length := fixedV2 + int(binary.BigEndian.Uint16(b[14:]))
	switch {
	case length > maxV2:
		return 0, malformed(v, fmt.Errorf("is longer than %d bytes", maxV2))
	case len(b) < length:
		return length, ErrIncomplete
	}
	return length, nil
}

// fill takes over what names two ends of a TCP connection: neither unix sockets
// nor datagrams are any here.
func (h *Header) fill(raw *proxyproto.Header, b []byte) error {
	source, destination, ok := raw.TCPAddrs()
	if !ok {
		return errors.New("is not of a TCP connection")
	}
	h.Source, h.Destination = network.AddressOf(source), network.AddressOf(destination)
	for _, a := range []network.Address{h.Source, h.Destination} {
		if ip := a.IP.Addr(); !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || ip.String() == "255.255.255.255" {
			return errors.New("names an address that is not one host's")
		}
	}
	if h.Version == V1 {
		return nil
	}
	address := addressV4
	if raw.TransportProtocol.IsIPv6() {
		address = addressV6
	}
	return h.readTLVs(b, fixedV2+address)
}

// readTLVs reads what is behind the addresses, from the given offset of b.
func (h *Header) readTLVs(b []byte, at int) error {
	for at < len(b) {
		if len(b)-at < 3 {
			return errors.New("has a truncated TLV")
		}
		kind, size := b[at], int(binary.BigEndian.Uint16(b[at+1:]))
		at += 3
		if size > len(b)-at {
			return errors.New("has a truncated TLV")
		}
		value := b[at : at+size]
		switch proxyproto.PP2Type(kind) {
		case proxyproto.PP2_TYPE_NOOP:
		case proxyproto.PP2_TYPE_CRC32C:
			if !checksumFits(b, at, value) {
				return errors.New("has a wrong checksum")
			}
		default:
			h.TLVs = append(h.TLVs, TLV{kind, bytes.Clone(value)})
		}
		at += size
	}
	return nil
}

// checksumFits compares the checksum at the offset of b, computed as if it were
// zero (§2.2.3).
func checksumFits(b []byte, at int, sum []byte) bool {
	if len(sum) != crc32.Size {
		return false
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	crc := crc32.Update(0, table, b[:at])
	crc = crc32.Update(crc, table, make([]byte, crc32.Size))
	crc = crc32.Update(crc, table, b[at+crc32.Size:])
	return crc == binary.BigEndian.Uint32(sum)
}
