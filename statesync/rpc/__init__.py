"""The state service over gRPC: conversion, servicer and client."""
