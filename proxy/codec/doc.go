// Package codec is one HTTP stream interface for three codecs. Its
// sub-packages h1, h2 and h3 each have a client and a server half; everything
// above them (hcm, router, tunnel) speaks Stream and does not ask which version
// it is. Like package network it is a leaf.
package codec
