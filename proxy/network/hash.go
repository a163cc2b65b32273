package network

import (
	"encoding/binary"
	"math/bits"
)

// StateHash is the filter state that says which endpoint of a cluster with
// consistent hashing a flow goes to: a uint64, made by Hash64 of what a
// hash_policy names. Flows of one hash go to one endpoint.
const StateHash = "culvert.upstream.hash"

// SetHash stores the hash of a flow.
func (s *StreamInfo) SetHash(h uint64) { s.SetFilterState(StateHash, h) }

// Hash is the hash of a flow, or of the connection that the exchange came on;
// false if there is none.
func (s *StreamInfo) Hash() (uint64, bool) {
	v, _ := s.LookupFilterState(StateHash)
	h, ok := v.(uint64)
	return h, ok
}

// Primes of xxHash.
const (
	prime1 uint64 = 11400714785074694791
	prime2 uint64 = 14029467366897019727
	prime3 uint64 = 1609587929392839161
	prime4 uint64 = 9650029242287828579
	prime5 uint64 = 2870177450012600261
)

// Hash64 is xxHash64 of s with seed 0, which Envoy uses for its rings: the same
// flow finds the same endpoint behind either.
func Hash64(s string) uint64 {
	b := []byte(s)
	n := uint64(len(b))
	h := prime5
	if len(b) >= 32 {
		v := [4]uint64{prime1, prime2, 0, 0}
		v[0] += prime2
		v[3] -= prime1
		for ; len(b) >= 32; b = b[32:] {
			for i := range v {
				v[i] = round(v[i], binary.LittleEndian.Uint64(b[8*i:]))
			}
		}
		h = bits.RotateLeft64(v[0], 1) + bits.RotateLeft64(v[1], 7) + bits.RotateLeft64(v[2], 12) + bits.RotateLeft64(v[3], 18)
		for i := range v {
			h = (h^round(0, v[i]))*prime1 + prime4
		}
	}
	h += n
	for ; len(b) >= 8; b = b[8:] {
		h = bits.RotateLeft64(h^round(0, binary.LittleEndian.Uint64(b)), 27)*prime1 + prime4
	}
	if len(b) >= 4 {
		h = bits.RotateLeft64(h^uint64(binary.LittleEndian.Uint32(b))*prime1, 23)*prime2 + prime3
		b = b[4:]
	}
	for _, c := range b {
		h = bits.RotateLeft64(h^uint64(c)*prime5, 11) * prime1
	}
	h = (h ^ h>>33) * prime2
	h = (h ^ h>>29) * prime3
	return h ^ h>>32
}

func round(acc, lane uint64) uint64 {
	return bits.RotateLeft64(acc+lane*prime2, 31) * prime1
}
