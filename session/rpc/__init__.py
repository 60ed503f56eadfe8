"""The session service over gRPC: conversion, servicer and client."""
