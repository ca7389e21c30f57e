// Package h1 makes requests over plain HTTP/1.1 in the goroutine that asks for
// them. It takes a third less CPU time than [http.Transport], which hands each
// request to two goroutines of the connection.
//
// The text of the protocol is net/http's ([http.Request.Write],
// [http.ReadResponse]). Whatever is not plain and small goes to an
// http.Transport: https, proxies, large bodies, upgrades, traces.
package h1
