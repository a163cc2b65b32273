package codec

import (
	"errors"
	"io"

	"culvert/proxy/network"
)

// CopyBody moves a message body from src to dst until its end, and ends dst's
// direction as src's ended: with the trailers that trailers returns after EOF,
// or without. Chunks move owned where both ends can. count learns of every
// piece that was written. At most one of the errors is set.
func CopyBody(dst Stream, src io.Reader, trailers func() Fields, count func(n int)) (readErr, writeErr error) {
	r, canRead := src.(network.ChunkReader)
	w, canWrite := dst.(network.ChunkWriter)
	if canRead && canWrite {
		readErr, writeErr = copyChunks(w, r, count)
	} else {
		readErr, writeErr = copyBytes(dst, src, count)
	}
	if readErr != nil || writeErr != nil {
		return readErr, writeErr
	}
	if t := trailers(); len(t) > 0 {
		return nil, dst.WriteTrailers(t)
	}
	return nil, dst.CloseWrite()
}

// NoTrailers is for bodies that have none.
func NoTrailers() Fields { return nil }

func copyChunks(dst network.ChunkWriter, src network.ChunkReader, count func(int)) (readErr, writeErr error) {
	for {
		c, err := src.ReadChunk()
		if err != nil {
			return notEOF(err), nil
		}
		n := len(c.Data)
		if err := dst.WriteChunk(c); err != nil {
			return nil, err
		}
		count(n)
	}
}

func copyBytes(dst io.Writer, src io.Reader, count func(int)) (readErr, writeErr error) {
	c := network.NewChunk(network.ChunkMedium)
	defer c.Release()
	for {
		n, err := src.Read(c.Space())
		if n > 0 {
			if _, werr := dst.Write(c.Space()[:n]); werr != nil {
				return nil, werr
			}
			count(n)
		}
		if err != nil {
			return notEOF(err), nil
		}
	}
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
